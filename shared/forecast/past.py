"""What earlier jobs took, and how their figures become those of the next one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from shared.forecast.actual import Actual
from shared.forecast.forecast import Forecast, PartName, Place, Span
from shared.number_text import many

MOST_PAST_JOBS = 20
"""The newest: machines, networks and our own code change."""
LEAST_SPREAD = 0.10
"""Figures of several jobs that agree still stand for that much more and less."""
SPREAD_OF_ONE = 0.25
"""A single job says nothing of the spread."""


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job that has ended, as it was foreseen and as it was."""

    job_id: str
    forecast: Forecast
    actual: Actual

    @property
    def is_rented(self) -> bool:
        return self.forecast.place.is_rented


@dataclass(frozen=True, slots=True)
class MeasuredSpeed:
    """Of a job of which no forecast was kept."""

    tokens_per_s: float
    job_id: str


@dataclass(frozen=True, slots=True)
class Past:
    """What is known when a forecast is made; nothing at all is a past as well."""

    jobs: tuple[PastJob, ...] = ()
    """Those whose actual figures correct later forecasts, newest first; of any model and place."""
    speed: MeasuredSpeed | None = None
    """Of the base model at the place, where none of the jobs tells."""
    cached_on: frozenset[str] = frozenset()
    """Network volumes that hold a quantised copy of the base model."""

    def on_provider(self, place: Place) -> list[PastJob]:
        """On rented machines of any type; or on the same machine of the user's own."""
        if place.is_rented:
            return [job for job in self.jobs if job.is_rented]
        return [job for job in self.jobs if job.actual.machine == place.machine]

    def alike(self, base_model: str, place: Place) -> list[PastJob]:
        """The same model on as many GPUs of the same type, or on the same host."""
        return [
            job
            for job in self.jobs
            if job.forecast.work.base_model == base_model
            and job.actual.machine == place.machine
            and job.forecast.place.num_gpus == place.num_gpus
        ]


NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Known:
    """A figure from earlier jobs."""

    span: Span
    source: str


def seconds_of(jobs: Sequence[PastJob], part: PartName, where: str) -> Known | None:
    """How long this part took in them; None where none of them tells."""
    return _known(jobs, lambda job: job.actual.part_s(part), where)


def seconds_per_token(
    jobs: Sequence[PastJob], part: PartName, tokens: Callable[[PastJob], int], where: str
) -> Known | None:
    """As `seconds_of`, by each of the `tokens` that went through the model in that part."""

    def by_token(job: PastJob) -> float | None:
        seconds, count = job.actual.part_s(part), tokens(job)
        return None if not seconds or count <= 0 else seconds / count

    return _known(jobs, by_token, where)


def spread(values: Sequence[float]) -> Span:
    """The median, and from the least to the most of them; at least one value."""
    middle = median(values)
    margin = SPREAD_OF_ONE if len(values) == 1 else LEAST_SPREAD
    return Span(
        best=min(min(values), middle * (1 - margin)),
        expected=middle,
        worst=max(max(values), middle * (1 + margin)),
    )


def _known(
    jobs: Iterable[PastJob], figure: Callable[[PastJob], float | None], where: str
) -> Known | None:
    values = [value for job in jobs if (value := figure(job)) is not None][:MOST_PAST_JOBS]
    if not values:
        return None
    return Known(spread(values), f"{many(len(values), 'past job')} on {where}")
