"""The line of waiting jobs as the console knows it, from values alone. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shared.lifecycle import Activity

if TYPE_CHECKING:
    from shared.store.stored import StoredJob


def waits(job: StoredJob) -> bool:
    """True for a job whose turn has not come, rented or not."""
    return job.state.activity is Activity.WAITING_FOR_TURN and not job.status.is_final


def line_of(jobs: Iterable[StoredJob]) -> tuple[str, ...]:
    """Ids of those that wait, the next one first."""
    # Not `shared.turns`, which brings pydantic along: this stands before the first paint.
    waiting = sorted(filter(waits, jobs), key=lambda job: (job.place, job.created_at, job.job_id))
    return tuple(job.job_id for job in waiting)


def queued_words(line: tuple[str, ...], job_id: str) -> str:
    """`queued 2 of 5`; "" for a job that does not wait."""
    return f"queued {line.index(job_id) + 1} of {len(line)}" if job_id in line else ""
