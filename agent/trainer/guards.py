"""Watches the figures of a run and says when something is wrong; applies and stops nothing itself.

All of it is a function of the figures alone, so that every process of a run decides the same.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from agent.trainer.failures import NonFinite

SPIKE_FACTOR = 3.0
SPIKE_WINDOW = 16
SPIKE_RISE = 0.3
"""A step's loss above three times the median of the last 16 steps: with some hundred supervised
tokens a step, sound runs on conversations stay within half and double of it."""

DRIFT_WINDOW = 20
DRIFT_SHARE = 0.25
DRIFT_RISE = 0.4
"""In nats. A median of 20 steps a quarter above the lowest such one of the run is a divergence;
below 0.4 nats it may be the order of the conversations."""


@dataclass
class NonFiniteGuard:
    """Counts steps in a row whose loss or gradient is NaN or infinite."""

    limit: int
    in_a_row: int = 0

    def passed(self) -> None:
        """A step was applied."""
        self.in_a_row = 0

    @property
    def is_last(self) -> bool:
        """True if one more ends the run."""
        return self.in_a_row + 1 >= self.limit

    def skipped(self, name: str, value: float, step: int) -> str:
        """A step is not applied; a sentence about it.

        Raises:
            NonFinite: that was one too many.
        """
        self.in_a_row += 1
        if self.in_a_row >= self.limit:
            raise NonFinite(name, value, step, self.in_a_row)
        return (
            f"step {step} is not applied: {name} is {value} "
            f"({self.in_a_row} of at most {self.limit} in a row)"
        )


@dataclass
class DivergenceAlert:
    """Says once when the training loss jumps, or climbs away from where it had been."""

    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=DRIFT_WINDOW))
    _lowest: float = math.inf
    _is_drifting: bool = False

    def after_step(self, step: int, loss: float) -> str | None:
        """A sentence where this step gives reason for one."""
        alert = self._spike(step, loss)
        self._losses.append(loss)
        return alert or self._drift(step)

    def _spike(self, step: int, loss: float) -> str:
        if len(self._losses) < SPIKE_WINDOW // 2:
            return ""
        usual = median(list(self._losses)[-SPIKE_WINDOW:])
        if loss < SPIKE_FACTOR * usual or loss < usual + SPIKE_RISE:
            return ""
        return (
            f"loss spike: {loss:.4f} at step {step}, {loss / usual:.1f} times the usual {usual:.4f}"
        )

    def _drift(self, step: int) -> str | None:
        if len(self._losses) < DRIFT_WINDOW:
            return None
        now = median(self._losses)
        self._lowest = min(self._lowest, now)
        rise = now - self._lowest
        was_drifting = self._is_drifting
        self._is_drifting = rise > max(DRIFT_RISE, DRIFT_SHARE * self._lowest)
        if not self._is_drifting or was_drifting:
            return None
        return (
            f"the loss diverges: {now:.4f} in the {DRIFT_WINDOW} steps up to {step}, "
            f"it had been {self._lowest:.4f}; a lower learning_rate would help"
        )


@dataclass
class EarlyStopping:
    """Ends a run whose held-out loss has stopped falling."""

    patience: int | None
    """Evaluations without a better loss; None never stops."""
    best_loss: float | None = None
    best_step: int = 0
    without_better: int = 0

    def after_evaluation(self, step: int, loss: float) -> bool:
        """Take the loss in; True if it is the best so far."""
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss):
            self.best_loss, self.best_step, self.without_better = loss, step, 0
            return True
        self.without_better += 1
        return False

    @property
    def is_over(self) -> bool:
        """True once there is no hope left."""
        return self.patience is not None and self.without_better >= self.patience
