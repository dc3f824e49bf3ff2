"""One line of the jobs table, and which lines are shown in which order. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.lifecycle import JobStatus

if TYPE_CHECKING:
    from shared.store.stored import StoredJob

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
    cost_usd: float | None
    """None where nothing is rented."""
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


def row_of(job: StoredJob, *, is_unreachable: bool) -> JobRow:
    """The row of a job as it is known now."""
    spec, state = job.spec, job.state
    texts = (spec.name, spec.notes, spec.base_model, spec.dataset.file_name)
    searched = (job.job_id, job.host, *texts)
    return JobRow(
        job_id=job.job_id,
        name=clean_line(spec.name),
        status=state.status,
        host=clean_line(job.host),
        activity="unreachable" if is_unreachable else (state.activity or ""),
        is_unreachable=is_unreachable,
        step=state.step,
        total_steps=state.total_steps,
        loss=state.loss,
        cost_usd=None,
        started_at=state.started_at,
        ended_at=state.ended_at,
        created_at=job.created_at,
        searched=clean_line(" ".join([*searched, *spec.tags])).lower(),
    )


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
