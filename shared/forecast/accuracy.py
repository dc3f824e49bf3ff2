"""How good past forecasts were: of jobs that did what was foreseen, where it was foreseen. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from shared.forecast.forecast import HOUR_S
from shared.forecast.past import PastJob


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Over so many jobs; None where there is nothing to compare."""

    n_jobs: int = 0
    hours_error: float | None = None
    """Median of how far actual hours were off what was expected: 0.12 is 12 %, up or down."""
    dollars_error: float | None = None
    """The same of dollars, over rented jobs."""
    inside_share: float | None = None
    """Of jobs whose actual hours lay between best and worst."""
    bias: float | None = None
    """Median of actual / expected hours, less 1: above 0 where jobs take longer than foreseen."""

    @property
    def n_inside(self) -> int:
        """Jobs inside the range."""
        return round((self.inside_share or 0.0) * self.n_jobs)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Actual to expected, of one job; 1.0 is just as foreseen."""

    hours: float
    dollars: float | None
    is_inside: bool


def ratio_of(past: PastJob) -> Ratio | None:
    """None for a job that cannot be compared: interrupted, ended early, or on another machine."""
    forecast, actual = past.forecast, past.actual
    hours, took = forecast.hours, actual.total_s / HOUR_S
    if not actual.corrects or actual.machine != forecast.place.machine:
        return None
    if hours is None or hours.expected <= 0 or took <= 0:
        return None
    machine = forecast.machine_usd
    dollars = None
    if machine is not None and machine.expected > 0 and actual.cost_usd is not None:
        dollars = actual.cost_usd / machine.expected
    return Ratio(took / hours.expected, dollars, hours.holds(took))


def accuracy_of(past: Iterable[PastJob]) -> Accuracy:
    """Over all of them that can be compared."""
    ratios = [ratio for job in past if (ratio := ratio_of(job)) is not None]
    if not ratios:
        return Accuracy()
    dollars = [abs(ratio.dollars - 1) for ratio in ratios if ratio.dollars is not None]
    return Accuracy(
        n_jobs=len(ratios),
        hours_error=median(abs(ratio.hours - 1) for ratio in ratios),
        dollars_error=median(dollars) if dollars else None,
        inside_share=sum(ratio.is_inside for ratio in ratios) / len(ratios),
        bias=median(ratio.hours for ratio in ratios) - 1,
    )
