"""What the curves of a run say, and what they do not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from shared.advice.advisor import suggestions
from shared.advice.suggestion import EndedJob
from shared.lifecycle import StopReason
from tests.shared.advice.ended_jobs import ended_job, run_of


def completed(*args: Any, spec: dict[str, Any] | None = None, **kwargs: Any) -> EndedJob:
    return ended_job(StopReason.COMPLETED, spec=spec, points=run_of(*args, **kwargs))


def changes(job: EndedJob) -> list[dict[str, Any]]:
    return [dict(suggestion.changes) for suggestion in suggestions(job)]


def noisy(first: float, last: float, steps: int = 60, noise: float = 0.05) -> list[float]:
    chance = random.Random(7)
    slope = (last - first) / (steps - 1)
    return [first + slope * step + chance.gauss(0, noise) for step in range(steps)]


MEASURED_TOO_LOW = [
    8.4454, 8.4403, 8.4320, 8.4278, 8.4451, 8.4325, 8.4279, 8.4395, 8.4446, 8.4394, 8.4327,
    8.4261, 8.4443, 8.4250, 8.4389, 8.4337, 8.4441, 8.4338, 8.4371, 8.4260,
]  # fmt: skip
"""The tiny model on the sample file at a learning rate of 1e-6 (2026-11), its evaluations too."""

MEASURED_WELL = [
    8.4454, 8.4403, 8.4320, 8.3933, 8.3756, 8.3566, 8.3221, 8.2888, 8.2713, 8.2611, 8.2140,
    8.1969, 8.1981, 8.1867, 8.1528, 8.1347, 8.1568, 8.1240, 8.1445, 8.1071,
]  # fmt: skip
"""The same at 2e-4."""


@pytest.mark.parametrize("losses", [noisy(2.1, 1.1), MEASURED_WELL, [2.0, 1.0] * 9])
def test_a_run_that_went_well_or_was_short_needs_nothing(losses: list[float]) -> None:
    assert suggestions(completed(losses, [2.1, 1.5, 1.2, 1.1])) == []


@pytest.mark.parametrize("losses", [noisy(2.0, 1.99), MEASURED_TOO_LOW])
def test_a_loss_that_does_not_fall_asks_for_a_higher_rate_then_for_rank(
    losses: list[float],
) -> None:
    job = completed(losses)
    assert changes(job) == [{"learning_rate": 3e-4}, {"lora_r": 32, "lora_alpha": 64}]
    first = sum(losses[: len(losses) // 5]) / (len(losses) // 5)
    assert f"hardly fell: {first:.4f} in the first fifth" in suggestions(job)[0].reason
    assert "at learning_rate 0.0002" in suggestions(job)[0].reason


def test_a_rate_that_is_high_already_is_not_raised() -> None:
    spec = {"hyperparameters": {"learning_rate": 5e-4}}
    assert changes(completed(noisy(2.0, 1.99), spec=spec)) == [{"lora_r": 32, "lora_alpha": 64}]


def test_batches_that_hide_a_falling_held_out_loss_are_no_reason() -> None:
    assert suggestions(completed(noisy(2.0, 1.99), [2.1, 1.9, 1.8, 1.7])) == []


def test_a_loss_that_climbed_away_asks_for_half_of_the_rate() -> None:
    losses = noisy(2.1, 1.4, 40) + noisy(2.0, 2.6, 20)
    job = completed(losses)
    assert changes(job) == [{"learning_rate": 1e-4}]
    assert "diverged" in suggestions(job)[0].reason


def test_one_spike_that_passes_is_no_divergence() -> None:
    losses = noisy(2.1, 1.1)
    losses[30] = 9.0
    assert suggestions(completed(losses, [2.1, 1.5, 1.2, 1.1])) == []


def test_overfitting_asks_for_the_epochs_up_to_the_best_held_out_loss() -> None:
    job = completed(noisy(2.1, 0.4), [2.1, 1.2, 1.4, 1.9])
    assert changes(job) == [
        {"num_epochs": 1},
        {"weight_decay": 0.1},
        {"early_stopping_patience": 1},
    ]
    reason = suggestions(job)[0].reason
    assert "best at epoch 1 (1.2000) and rose to 1.9000" in reason


def test_a_held_out_loss_that_rises_from_the_start_asks_for_smaller_steps() -> None:
    job = completed(noisy(2.1, 0.4), [1.5, 1.6, 1.8, 1.9])
    assert changes(job)[:2] == [{"num_epochs": 1}, {"learning_rate": 1e-4}]


def test_what_was_tried_already_is_not_suggested_again() -> None:
    spec = {
        "hyperparameters": {"num_epochs": 1, "weight_decay": 0.2},
        "early_stopping_patience": 2,
    }
    job = completed(noisy(2.1, 0.4), [1.2, 1.1, 1.5], epochs=2, spec=spec)
    assert changes(job) == []


def test_a_held_out_loss_that_rises_by_a_hair_has_not_risen() -> None:
    assert suggestions(completed(noisy(2.1, 1.1), [2.1, 1.5, 1.2, 1.205])) == []


def test_both_losses_rising_is_no_overfitting() -> None:
    losses = noisy(2.1, 1.2, 40) + noisy(1.5, 1.6, 20)
    assert suggestions(completed(losses, [2.1, 1.5, 1.3, 1.5])) == []


def test_a_cancelled_job_is_judged_by_its_curves_too() -> None:
    job = ended_job(StopReason.CANCELLED, points=run_of(noisy(2.0, 1.99)))
    assert changes(job)[0] == {"learning_rate": 3e-4}
