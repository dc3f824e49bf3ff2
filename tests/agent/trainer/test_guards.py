"""What the figures of a run give reason to say, and when they end it."""

from __future__ import annotations

import math
import random

import pytest

from agent.trainer.failures import NonFinite
from agent.trainer.guards import DivergenceAlert, EarlyStopping, NonFiniteGuard


def alerts_of(losses: list[float]) -> dict[int, str]:
    alert = DivergenceAlert()
    said = {step: alert.after_step(step, loss) for step, loss in enumerate(losses, start=1)}
    return {step: words for step, words in said.items() if words}


def falling(steps: int, seed: int = 1) -> list[float]:
    """A sound run: from 2.0 to about 1.2, each step half as much up or down as it falls in all."""
    noise = random.Random(seed)
    return [1.2 + 0.8 * math.exp(-step / 15) + noise.uniform(-0.4, 0.4) for step in range(steps)]


@pytest.mark.parametrize("seed", range(20))
def test_a_sound_run_gives_no_alert(seed: int) -> None:
    assert alerts_of(falling(150, seed)) == {}


def test_a_loss_five_times_as_high_is_a_spike() -> None:
    losses = falling(60)
    losses[40] *= 5
    said = alerts_of(losses)
    assert list(said) == [41]
    assert said[41].startswith(f"loss spike: {losses[40]:.4f} at step 41, ")


def test_a_loss_that_climbs_slowly_is_said_once_and_again_after_it_had_recovered() -> None:
    losses = [1.0] * 30 + [1.0 + 0.05 * step for step in range(20)] + [1.0] * 30 + [1.6] * 30
    said = [words for words in alerts_of(losses).values() if "diverges" in words]
    assert len(said) == 2
    assert "1.0000" in said[0]


def test_a_small_loss_may_double() -> None:
    assert alerts_of([0.05] * 30 + [0.2] * 30) == {}


def test_non_finite_steps_count_in_a_row() -> None:
    guard = NonFiniteGuard(limit=2)
    assert "1 of at most 2" in guard.skipped("loss", math.nan, 7)
    guard.passed()
    assert not guard.is_last
    guard.skipped("loss", math.nan, 9)
    assert guard.is_last
    with pytest.raises(NonFinite, match=r"grad_norm is inf at step 10, the 2\. in a row"):
        guard.skipped("grad_norm", math.inf, 10)


def test_early_stopping_waits_for_its_patience_and_knows_the_best_step() -> None:
    early = EarlyStopping(patience=2)
    assert [
        early.after_evaluation(step, loss) for step, loss in ((1, 2.0), (2, 1.5), (3, 1.6))
    ] == [
        True,
        True,
        False,
    ]
    assert not early.is_over
    assert not early.after_evaluation(4, math.nan)
    assert early.is_over
    assert (early.best_step, early.best_loss) == (2, 1.5)


def test_without_a_patience_nothing_stops() -> None:
    early = EarlyStopping(patience=None)
    for step in range(100):
        early.after_evaluation(step, 1.0 + step)
    assert not early.is_over
