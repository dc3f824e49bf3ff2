"""How long a job would take and cost: from a speed that was measured, else from arithmetic.

A figure from arithmetic is called an estimate. Prices are not known here: they are told.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.memory.cards import Card
from shared.model_shape import ModelShape
from shared.training_time import TimeSpan, estimated_time
from tui.services.speed import ObservedSpeed
from tui.services.training_plan import TrainingPlan

_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class JobTime:
    """Of training alone, without loading, evaluation and saving."""

    span: TimeSpan | None
    """None: nobody can say."""
    observed: ObservedSpeed | None = None
    """Where the speed was measured; None: computed from FLOPs."""

    def cost_usd(self, usd_per_hour: float) -> tuple[float, float] | None:
        """Least and most, at this price for the whole machine; None where the time is unknown."""
        if self.span is None:
            return None
        return (
            self.span.from_s * usd_per_hour / _HOUR_S,
            self.span.to_s * usd_per_hour / _HOUR_S,
        )


def job_time(
    plan: TrainingPlan,
    num_epochs: int,
    *,
    observed: ObservedSpeed | None = None,
    shape: ModelShape | None = None,
    card: Card | None = None,
    num_gpus: int = 1,
) -> JobTime:
    """By the measured speed where there is one, else by the card's arithmetic."""
    tokens = plan.tokens_per_epoch * num_epochs
    if observed is not None:
        seconds = tokens / observed.tokens_per_s
        return JobTime(TimeSpan(seconds, seconds), observed)
    if shape is None or card is None or card.dense_tflops is None:
        return JobTime(None)
    return JobTime(estimated_time(shape, tokens, card.dense_tflops, num_gpus))
