"""The line of waiting jobs, for whoever shows it, and jobs that are put into it.

Who moves the line on is elsewhere: `host_queue` for the user's own hosts, the controller for rented
machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.dataset.report import DatasetReport
from shared.errors import InvalidDataset
from shared.forecast.forecast import Forecast
from shared.job_spec import JobSpec
from shared.store.stored import StoredJob
from shared.turns import TurnLimits, why_it_waits
from shared.webhook import WebhookTarget
from tui.services.dataset_check import CheckedFile
from tui.services.dataset_registry import record_check
from tui.services.forecasting import keep_forecast
from tui.services.host_queue import turn_limits
from tui.services.hosts.names import LOCAL, shown_host
from tui.services.jobs import Started
from tui.services.session import Session
from tui.services.webhook_targets import keep_target

WHO_STARTS = "it starts while a console or `brightrun serve` runs"


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One that waits for its turn."""

    place: int
    """From 1."""
    job: StoredJob
    why: str
    """What it waits for; "" where its turn is about to come."""

    @property
    def since(self) -> datetime:
        """When it was written down."""
        return self.job.created_at

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "place": self.place,
            "job_id": self.job.job_id,
            "name": self.job.spec.name,
            "host": shown_host(self.job.host),
            "since": self.since.isoformat(),
            "why": self.why,
            "sweep_id": self.job.sweep_id,
        }


async def queue_job(
    session: Session,
    path: Path,
    spec: JobSpec,
    report: DatasetReport,
    *,
    host: str = LOCAL,
    foreseen: Forecast | None = None,
    created_by: str | None = None,
    training_file_id: str | None = None,
    webhook: WebhookTarget | None = None,
) -> Started:
    """Write a job down, to be handed over when its turn comes; asks nothing of the host.

    `created_by` and `training_file_id` are the web application's, as in `StoredJob`.

    Raises:
        InvalidDataset: the report has errors; nothing was written down.
        InvalidJobSpec: the id belongs to a job with another spec.
    """
    if report.has_errors:
        raise InvalidDataset(f"{path}: has errors; nothing was started.")
    await record_check(session.store, CheckedFile(path, spec.dataset, spec.base_model, report))
    name = session.hosts.get(host).name
    job, is_new = await session.store.add_job(
        spec,
        name,
        waits_for_turn=True,
        created_by=created_by,
        training_file_id=training_file_id,
    )
    await keep_forecast(session.store, spec.job_id, foreseen)
    await keep_target(session.store, spec.job_id, webhook)
    return Started(job, was_there=not is_new)


async def queued_jobs(session: Session) -> list[QueuedJob]:
    """The whole line, in order."""
    waiting = await session.store.queue.waiting()
    on_own_hosts = await session.store.queue.open_on_own_hosts()
    limits = await turn_limits(session)
    return [
        QueuedJob(place, job, _why(job, on_own_hosts, limits))
        for place, job in enumerate(waiting, start=1)
    ]


def _why(job: StoredJob, on_own_hosts: list[StoredJob], limits: TurnLimits) -> str:
    # The controller writes down why a rented job waits.
    return job.state.detail if job.state.rented else why_it_waits(job, on_own_hosts, limits)


async def at_work_on(session: Session, host: str) -> list[str]:
    """Ids of our jobs that run on a host, by its agent's own word."""
    open_jobs = await session.store.queue.open_on_own_hosts()
    there = [job for job in open_jobs if job.host == host and not job.waits_for_turn]
    sights = [await session.mirror.catch_up(job) for job in there]
    return [
        sight.job.job_id
        for sight in sights
        if sight.unreachable is None and not sight.job.status.is_final
    ]
