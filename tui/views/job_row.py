"""One line of the jobs table, and which lines are shown in which order. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.lifecycle import JobStatus
from tui.services.hosts.names import shown_host
from tui.views.rental_status import RentalStatus, Urgency, rental_status

if TYPE_CHECKING:
    from shared.store.stored import StoredJob
    from tui.services.rental_watch import RentalSight

STATUS_SIGNS = {
    JobStatus.QUEUED: "○",
    JobStatus.PREPROCESSING: "◔",
    JobStatus.MODEL_LOADED: "◑",
    JobStatus.TRAINING: "●",
    JobStatus.COMPLETED: "✓",
    JobStatus.FAILED: "✗",
    JobStatus.CANCELLED: "–",
}
"""A status is never told by its colour alone."""

STATUS_STYLES: dict[str, str] = {
    JobStatus.TRAINING: "cyan",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "yellow",
}
"""Rich's words for the colours, in the console and in what commands print."""


def status_words(status: JobStatus) -> str:
    """`● training`."""
    return f"{STATUS_SIGNS[status]} {status.value.replace('_', ' ')}"


@dataclass(frozen=True, slots=True)
class RunningCost:
    """What a job's machines have cost, and go on to cost."""

    cost_usd: float
    as_of: datetime
    usd_per_hour: float = 0.0

    def at(self, now: datetime) -> float:
        """Dollars up to `now`."""
        hours = max((now - self.as_of).total_seconds(), 0.0) / 3600
        return self.cost_usd + hours * self.usd_per_hour


@dataclass(frozen=True, slots=True)
class JobRow:
    """What the table shows of a job; all foreign text in it is clean."""

    job_id: str
    name: str
    status: JobStatus
    host: str
    activity: str
    is_unreachable: bool
    step: int
    total_steps: int | None
    loss: float | None
    cost: RunningCost | None
    """None where nothing is rented."""
    urgency: Urgency
    started_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    searched: str
    """Everything that a search looks into, in lower case."""

    @property
    def progress(self) -> float | None:
        """0 to 1; None before the number of steps is known."""
        if self.status is JobStatus.COMPLETED:
            return 1.0
        return min(self.step / self.total_steps, 1.0) if self.total_steps else None

    def duration_s(self, now: datetime) -> float | None:
        """Seconds from the first record to the end, or to now; None before it began."""
        if self.started_at is None:
            return None
        return max(((self.ended_at or now) - self.started_at).total_seconds(), 0.0)


def row_of(
    job: StoredJob,
    *,
    is_unreachable: bool,
    rented: RentalSight | None = None,
    queued: str = "",
) -> JobRow:
    """The row of a job as it is known now.

    `rented` is how its rented machine stands; `queued` is its place in the line, in words.
    """
    spec, state = job.spec, job.state
    now = datetime.now(UTC)
    standing = None if rented is None else rental_status(rented, now)
    if standing is not None and standing.activity:
        is_unreachable = False  # There is no agent yet, or not any more.
    texts = (spec.name, spec.notes, spec.base_model, spec.dataset.file_name)
    searched = (job.job_id, job.host, *texts)
    return JobRow(
        job_id=job.job_id,
        name=clean_line(spec.name),
        status=state.status,
        host=shown_host(job.host),
        activity=queued or _activity(job, standing, is_unreachable),
        is_unreachable=is_unreachable,
        step=state.step,
        total_steps=state.total_steps,
        loss=state.loss,
        cost=None if rented is None else _cost(rented, now),
        urgency="" if standing is None else standing.urgency,
        started_at=state.started_at,
        ended_at=state.ended_at,
        created_at=job.created_at,
        searched=clean_line(" ".join([*searched, *spec.tags])).lower(),
    )


def _activity(job: StoredJob, standing: RentalStatus | None, is_unreachable: bool) -> str:
    if standing is not None and standing.urgency:
        return _URGENT[standing.urgency]
    if is_unreachable:
        return "unreachable"
    if standing is not None and standing.activity and not job.status.is_final:
        return standing.activity
    return job.state.activity or ""


def _cost(rented: RentalSight, now: datetime) -> RunningCost:
    return RunningCost(rented.cost_usd(now), now, rented.usd_per_hour)


_URGENT: dict[Urgency, str] = {"question": "asks you", "alarm": "not ending"}
"""Short enough for the column of a narrow terminal, or nearly so."""

FILTERS: dict[str, frozenset[JobStatus]] = {
    "all": frozenset(JobStatus),
    "active": frozenset(status for status in JobStatus if not status.is_final),
    "completed": frozenset({JobStatus.COMPLETED}),
    "failed": frozenset({JobStatus.FAILED}),
    "cancelled": frozenset({JobStatus.CANCELLED}),
}

_NEVER = float("-inf")
_SORT_KEYS: dict[str, Callable[[JobRow, datetime], object]] = {
    "created": lambda row, now: row.created_at.timestamp(),
    "name": lambda row, now: row.name.lower(),
    "status": lambda row, now: (row.status.rank, row.status.value),
    "progress": lambda row, now: _NEVER if row.progress is None else row.progress,
    "loss": lambda row, now: _NEVER if row.loss is None else row.loss,
    "duration": lambda row, now: row.duration_s(now) or _NEVER,
}
SORTS = tuple(_SORT_KEYS)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs are shown, and in which order."""

    shown: str = "all"
    """A name in `FILTERS`."""
    search: str = ""
    """Words that must all be there, in any case."""
    sort: str = "created"
    is_descending: bool = True

    def ids(self, rows: Iterable[JobRow], now: datetime) -> list[str]:
        """The ids of the jobs that are shown, in order."""
        statuses, words = FILTERS[self.shown], self.search.lower().split()
        chosen = [
            row
            for row in rows
            if row.status in statuses and all(word in row.searched for word in words)
        ]
        # The newest first among equals, whichever way the rest is sorted.
        chosen.sort(key=lambda row: row.created_at, reverse=True)
        key = _SORT_KEYS[self.sort]
        chosen.sort(key=lambda row: key(row, now), reverse=self.is_descending)  # type: ignore[arg-type,return-value]
        return [row.job_id for row in chosen]

    def sorted_by(self, sort: str) -> Selection:
        """The same jobs by another column; by the same column again, the other way round."""
        is_descending = not self.is_descending if sort == self.sort else sort != "name"
        return replace(self, sort=sort, is_descending=is_descending)


def count_by_filter(rows: Iterable[JobRow]) -> dict[str, int]:
    """How many jobs each filter would show."""
    statuses = [row.status for row in rows]
    return {name: sum(status in wanted for status in statuses) for name, wanted in FILTERS.items()}
