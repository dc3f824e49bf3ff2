"""Jobs that have completed with an adapter, as if they had run: the same figures in every run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update

from shared import events
from shared.hyperparameters import Hyperparameters
from shared.lifecycle import StopReason
from shared.store.schema import training_jobs
from shared.store.store import Store
from shared.store.stored import StoredJob
from tests.shared.store.journal import job_spec
from tests.tui.sample_home import MODEL, Journal

BEGIN = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


async def add_completed(
    store: Store,
    job_id: str,
    name: str = "Empathy",
    *,
    steps: int = 40,
    begin: datetime = BEGIN,
    retry_of: str | None = None,
    reason: StopReason = StopReason.COMPLETED,
    host: str = "local",
    **hyperparameters: Any,
) -> StoredJob:
    """One job; with another `reason` it has no adapter."""
    settings = Hyperparameters.model_validate({**hyperparameters})
    spec = job_spec(job_id, name=name, base_model=MODEL, hyperparameters=settings)
    await store.add_job(spec, host, retry_of)
    async with store.database.writing() as connection:
        where = training_jobs.c.id == job_id
        await connection.execute(update(training_jobs).where(where).values(created_at=begin))
    await store.apply_records(job_id, run_of(job_id, steps, begin, reason).records)
    return await store.get_job(job_id)


def run_of(
    job_id: str, steps: int, begin: datetime, reason: StopReason = StopReason.COMPLETED
) -> Journal:
    """All records of such a job."""
    journal = Journal(job_id, begin)
    journal.prepare()
    journal.add(events.Evaluation(step=0, epoch=0, loss=2.1321, supervised_tokens=1400), 20)
    journal.train(1, steps)
    if reason is StopReason.COMPLETED:
        journal.save_adapter()
    journal.end(reason)
    return journal
