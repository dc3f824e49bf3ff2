"""Starts, repeats and cancels jobs: what commands and screens do to a job, in one place.

The order is what makes a start safe to kill and to repeat: the spec is complete and checked before
anything happens, the intent is in the store before the agent hears of it, and the agent takes the
same job twice without harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.dataset.report import DatasetReport
from shared.errors import AgentError, AgentRefused, DatasetChanged, InvalidDataset, ProtocolError
from shared.job_options import retried_spec
from shared.job_spec import JobSpec, new_job_id
from shared.lifecycle import JobStatus
from shared.store.stored import StoredJob
from tui.services.changed_file import change_in_words
from tui.services.dataset_check import CheckedFile
from tui.services.dataset_registry import record_check
from tui.services.hosts.host import Host, Step, in_silence
from tui.services.hosts.names import LOCAL, RUNPOD_PREFIX
from tui.services.rented_jobs import cancel_rented_job
from tui.services.session import Session

_FINAL_REFUSALS = (409, 422)
"""The agent understood and said no: asking again would not help."""


@dataclass(frozen=True, slots=True)
class Started:
    """The job as the store has it; `was_there` if it had been started before."""

    job: StoredJob
    was_there: bool


async def start_job(
    session: Session,
    path: Path,
    spec: JobSpec,
    report: DatasetReport,
    *,
    host: str = LOCAL,
    retry_of: str | None = None,
    on_step: Step = in_silence,
) -> Started:
    """Write the job down and give it to the host's agent, which is installed where it is missing.

    Raises:
        InvalidDataset: the report has errors; nothing was started.
        DatasetChanged: the file is not the one that was checked any more; says what differs.
        InvalidJobSpec: the id belongs to a job with another spec.
        AgentUnreachable: written down, but nobody took it over.
        AgentRefused: the agent said no; where that is final, so is the job's status.
    """
    if report.has_errors:
        raise InvalidDataset(f"{path}: has errors; nothing was started.")
    await record_check(session.store, CheckedFile(path, spec.dataset, spec.base_model, report))
    chosen = session.hosts.get(host)
    job, is_new = await session.store.add_job(spec, chosen.name, retry_of)
    created = False
    if not job.status.is_final:
        created = await _hand_over(session, session.host_of(job), path, spec, on_step)
    return Started(job, was_there=not (is_new or created))


async def retry_job(
    session: Session,
    job: StoredJob,
    on_step: Step = in_silence,
    changes: Mapping[str, Any] | None = None,
    budget_usd: float | None = None,
) -> StoredJob:
    """Start the same work again as a new job of this one's training file and settings.

    `changes` are hyperparameters and fields of the spec that the new job has otherwise, and
    `budget_usd` is what a rented one may cost; None: as much as before.

    Raises:
        InvalidHyperparameter, InvalidJobSpec: a change out of its range; nothing was started.
        InvalidDataset: the training file is neither on the host nor where it was checked.
        DatasetChanged: another content is there by now; says what differs.
        AgentUnreachable, AgentRefused: as for `start_job`.
    """
    spec = retried_spec(job.spec, {**(changes or {}), "job_id": new_job_id()})
    if (rented := await session.store.rentals.get(job.job_id)) is not None:
        name = RUNPOD_PREFIX + spec.job_id
        request = rented.request
        if budget_usd is not None:
            request = request.model_copy(update={"budget_usd": budget_usd})
        again, _ = await session.store.add_job(spec, name, job.job_id, request)
        return again
    again, _ = await session.store.add_job(spec, job.host, retry_of=job.job_id)
    path = await find_training_file(session, spec)
    await _hand_over(session, session.host_of(again), path, spec, on_step)
    return again


async def adopt_jobs(session: Session, host_name: str) -> list[StoredJob]:
    """Write down the host's jobs that this store does not know, and copy what happened to them.

    After a lost database they are all there again; another console's jobs on that host are too.

    Raises:
        AgentUnreachable: no agent answers there.
        ProtocolError: it speaks another version.
    """
    host = session.hosts.get(host_name)
    async with host.client() as client:
        await client.health()
        found = await client.jobs()
    known = await session.store.job_versions()
    adopted = []
    for answer in found:
        if answer.job.job_id not in known:
            job, _ = await session.store.add_job(answer.job, host.name)
            adopted.append((await session.mirror.catch_up(job)).job)
    return adopted


async def find_training_file(session: Session, spec: JobSpec) -> Path:
    """Where the job's training file was when it was checked; the host has a copy of its own."""
    try:
        return Path((await session.store.training_files.find(spec.dataset.sha256)).path)
    except InvalidDataset:  # Another console checked it.
        return Path(spec.dataset.file_name)


async def cancel_job(session: Session, job: StoredJob, reason: str) -> StoredJob:
    """Pass the wish on to the agent; a job that no agent knows is cancelled right here.

    A job that is final stays as it is.

    Raises:
        AgentUnreachable: the wish did not arrive.
    """
    if job.status.is_final:
        return job
    if job.state.rented:
        return await cancel_rented_job(session, job, reason)
    host = session.host_of(job)
    await host.ensure_agent()
    try:
        async with host.client() as client:
            await client.cancel(job.job_id, reason)
    except AgentRefused as refusal:
        if refusal.status_code != 404:
            raise
        detail = reason or "cancelled before it was started"
        return await session.store.settle_job(job.job_id, JobStatus.CANCELLED, detail)
    return (await session.mirror.catch_up(job)).job


async def _hand_over(
    session: Session, host: Host, path: Path, spec: JobSpec, on_step: Step
) -> bool:
    """Give the job to the host's agent; True if it was new there."""
    try:
        await host.ensure_agent(on_step)
        await host.ensure_trainer(on_step)
        await host.put_dataset(path, spec.dataset, on_step)
        on_step("starting the job")
        async with host.client() as client:
            return (await client.start(spec)).created
    except InvalidDataset as error:  # It was changed or removed since the check.
        if isinstance(error, DatasetChanged):
            error.args = (await change_in_words(session.store, path, spec, host.name),)
        await session.store.settle_job(spec.job_id, JobStatus.FAILED, str(error))
        raise
    except AgentRefused as refusal:
        if refusal.status_code in _FINAL_REFUSALS:
            await session.store.settle_job(spec.job_id, JobStatus.FAILED, f"refused: {refusal}")
        raise
    except (AgentError, ProtocolError) as error:
        advice = (
            f"The job is written down as {spec.job_id}: start it again with --job-id {spec.job_id}."
        )
        error.args = (f"{error} {advice}",)
        raise
