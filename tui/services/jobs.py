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
from shared.errors import (
    AgentError,
    AgentRefused,
    DatasetChanged,
    InvalidDataset,
    ProtocolError,
    StoreError,
)
from shared.forecast.forecast import Forecast
from shared.job_options import retried_spec
from shared.job_spec import JobSpec, new_job_id
from shared.lifecycle import JobStatus
from shared.store.stored import StoredJob
from shared.webhook import WebhookTarget
from tui.services.changed_file import change_in_words
from tui.services.dataset_check import CheckedFile
from tui.services.dataset_registry import record_check
from tui.services.forecasting import keep_forecast, keep_forecast_again
from tui.services.hosts.host import Host, Step, in_silence
from tui.services.hosts.names import LOCAL, RUNPOD_PREFIX
from tui.services.rented_jobs import cancel_rented_job, require_month_for
from tui.services.session import Session
from tui.services.webhook_targets import keep_target, try_to_hand_over

_FINAL_REFUSALS = (409, 422)
"""The agent understood and said no: asking again would not help."""

_NEVER_BEGUN = "cancelled before it was started"


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
    foreseen: Forecast | None = None,
    webhook: WebhookTarget | None = None,
    on_step: Step = in_silence,
) -> Started:
    """Write the job down and give it to the host's agent, which is installed where it is missing.

    `foreseen` is kept with the job, to be compared with what it took. `webhook` is who is told of
    it; None: as of the job that is retried, or as the environment says.

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
    await keep_forecast(session.store, spec.job_id, foreseen)
    await keep_target(session.store, spec.job_id, webhook, retry_of)
    created = False
    if not job.status.is_final:
        created = await _hand_over(session, session.host_of(job), path, spec, on_step)
        if job.waits_for_turn:  # It was queued before; its turn is now.
            await session.store.queue.handed_over(job.job_id)
    return Started(job, was_there=not (is_new or created))


async def retry_job(
    session: Session,
    job: StoredJob,
    on_step: Step = in_silence,
    changes: Mapping[str, Any] | None = None,
    budget_usd: float | None = None,
    over_limit: str = "",
) -> StoredJob:
    """Start the same work again as a new job of this one's training file and settings.

    `changes` are hyperparameters and fields of the spec that the new job has otherwise, and
    `budget_usd` is what a rented one may cost; None: as much as before. `over_limit` is why it may
    go beyond the monthly limit.

    Raises:
        InvalidHyperparameter, InvalidJobSpec: a change out of its range; nothing was started.
        InvalidDataset: the training file is neither on the host nor where it was checked.
        DatasetChanged: another content is there by now; says what differs.
        AgentUnreachable, AgentRefused: as for `start_job`.
        OverMonthlyLimit: as for `start_rented_job`.
    """
    spec = retried_spec(job.spec, {**(changes or {}), "job_id": new_job_id()})
    again = Again(retry_of=job.job_id, budget_usd=budget_usd, over_limit=over_limit)
    return await start_like(session, job, spec, again, on_step)


@dataclass(frozen=True, slots=True)
class Again:
    """How a job like another one is started."""

    retry_of: str | None = None
    host: str | None = None
    """None: where the other one is, or on a machine that is rented as for that one."""
    waits_for_turn: bool = False
    """On a host of the user's own: it is handed over when its turn comes."""
    budget_usd: float | None = None
    """Of a rented job; None: as much as the other one."""
    over_limit: str = ""


async def start_like(
    session: Session, job: StoredJob, spec: JobSpec, again: Again, on_step: Step = in_silence
) -> StoredJob:
    """Start a job of another one's training file, and of its machine if that is rented.

    Raises:
        InvalidDataset, DatasetChanged, AgentUnreachable, AgentRefused, OverMonthlyLimit: as for
            `retry_job`.
    """
    store = session.store
    rented = await store.rentals.get(job.job_id) if again.host is None else None
    if rented is not None:
        name = RUNPOD_PREFIX + spec.job_id
        request = rented.request
        if again.budget_usd is not None:
            request = request.model_copy(update={"budget_usd": again.budget_usd})
        budget_usd = request.budget_usd
        await require_month_for(session, spec.job_id, budget_usd, over_limit=again.over_limit)
        started, _ = await store.add_job(
            spec,
            name,
            again.retry_of,
            request,
            created_by=job.created_by,
            training_file_id=job.training_file_id,
        )
        await keep_forecast_again(store, job, spec)
        await keep_target(store, spec.job_id, like=job.job_id)
        return started
    host, waits = session.hosts.get(again.host or job.host), again.waits_for_turn
    started, _ = await store.add_job(
        spec,
        host.name,
        again.retry_of,
        waits_for_turn=waits,
        created_by=job.created_by,
        training_file_id=job.training_file_id,
    )
    await keep_forecast_again(store, job, spec, host.name)
    await keep_target(store, spec.job_id, like=job.job_id)
    if not waits:
        path = await find_training_file(session, spec)
        await _hand_over(session, host, path, spec, on_step)
    return started


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
    if job.waits_for_turn:
        withdrawn = await session.store.queue.withdraw(job.job_id, reason or _NEVER_BEGUN)
        if withdrawn is not None:
            return withdrawn
    host = session.host_of(job)
    await host.ensure_agent()
    try:
        async with host.client() as client:
            await client.cancel(job.job_id, reason)
    except AgentRefused as refusal:
        if refusal.status_code != 404:
            raise
        detail = reason or _NEVER_BEGUN
        return await session.store.settle_job(job.job_id, JobStatus.CANCELLED, detail)
    try:
        return (await session.mirror.catch_up(job)).job
    except StoreError:  # The wish has arrived; the copy of what follows can wait.
        return job


async def _hand_over(
    session: Session, host: Host, path: Path, spec: JobSpec, on_step: Step
) -> bool:
    """`hand_over`, with what to do about a host that did not take the job."""
    try:
        return await hand_over(session, host, path, spec, on_step)
    except (AgentRefused, InvalidDataset):
        raise
    except (AgentError, ProtocolError) as error:
        advice = (
            f"The job is written down as {spec.job_id}: start it again with --job-id {spec.job_id}."
        )
        error.args = (f"{error} {advice}",)
        raise


async def hand_over(
    session: Session, host: Host, path: Path, spec: JobSpec, on_step: Step = in_silence
) -> bool:
    """Give the job to the host's agent; True if it was new there.

    Raises:
        InvalidDataset: the training file is not what it was; the job has failed by that.
        AgentRefused: the agent said no; where that is final, so is the job's status.
        AgentError, ProtocolError: it was not handed over, and may be later.
    """
    try:
        await host.ensure_agent(on_step)
        await host.ensure_trainer(on_step)
        await host.put_dataset(path, spec.dataset, on_step)
        on_step("starting the job")
        async with host.client() as client:
            created = (await client.start(spec)).created
            await try_to_hand_over(session, client, spec.job_id)
            return created
    except InvalidDataset as error:  # It was changed or removed since the check.
        if isinstance(error, DatasetChanged):
            error.args = (await change_in_words(session.store, path, spec, host.name),)
        await session.store.settle_job(spec.job_id, JobStatus.FAILED, str(error))
        raise
    except AgentRefused as refusal:
        if refusal.status_code in _FINAL_REFUSALS:
            await session.store.settle_job(spec.job_id, JobStatus.FAILED, f"refused: {refusal}")
        raise
