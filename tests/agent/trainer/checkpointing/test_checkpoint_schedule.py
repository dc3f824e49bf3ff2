"""Checkpoints as often as their cost to the training stays under 2 %."""

from __future__ import annotations

import pytest

from agent.trainer.checkpointing.checkpoint_schedule import COST_SHARE, KEPT_SHARE, CostBudget


def steps_saved(steps: int, step_s: float, stall_s: float, contention_s: float = 0.0) -> list[int]:
    """The steps that a run would save, each of the same length."""
    budget, saved = CostBudget(), []
    for step in range(1, steps + 1):
        budget.elapsed_s += step_s
        if budget.allows(budget.last_stall_s + budget.last_contention_s, COST_SHARE):
            budget.spend_stall(stall_s)
            budget.spend_contention(contention_s)
            saved.append(step)
    return saved


def test_a_cheap_snapshot_is_taken_at_every_step() -> None:
    assert steps_saved(20, step_s=14.0, stall_s=0.2) == list(range(1, 21))


@pytest.mark.parametrize(("stall_s", "contention_s"), [(0.1, 0.0), (0.02, 0.08)])
def test_a_dear_one_is_taken_so_rarely_that_its_share_holds(
    stall_s: float, contention_s: float
) -> None:
    saved = steps_saved(200, 1.0, stall_s, contention_s)
    assert saved[0] == 1
    assert 38 <= len(saved) <= 40
    assert (stall_s + contention_s) * len(saved) <= COST_SHARE * 200


def test_snapshots_for_memory_alone_leave_half_for_those_that_are_written() -> None:
    budget = CostBudget(elapsed_s=100.0)
    kept = 0
    while budget.allows(0.1, KEPT_SHARE):
        budget.spend_stall(0.1)
        kept += 1
    assert kept in (9, 10)
    assert budget.allows(0.1, COST_SHARE)
