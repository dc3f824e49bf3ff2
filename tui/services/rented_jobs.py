"""Jobs for which a machine is rented: what the user wants of them is written down here.

Nothing here asks a provider for anything. The controller reads the ledger and does what is wanted,
in this process or in another.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from shared.dataset.report import DatasetReport
from shared.errors import InvalidBaseModel, InvalidDataset, InvalidInput, UnknownJob
from shared.forecast.forecast import Forecast
from shared.job_spec import JobSpec
from shared.machine_request import MachineRequest
from shared.rental import Wish
from shared.store.rentals import StoredRental
from shared.store.store import Store
from shared.store.stored import StoredJob
from shared.webhook import WebhookTarget
from tui.services.dataset_check import CheckedFile
from tui.services.dataset_registry import record_check
from tui.services.forecasting import keep_forecast
from tui.services.hosts.names import RUNPOD_PREFIX
from tui.services.hub_models import HubModel, require_hub_model
from tui.services.session import Session
from tui.services.spending.monthly_limit import checked_reason, require_month
from tui.services.webhook_targets import keep_target

GO_ON = "go on"
STOP = "stop"
MOVE = "move"


async def start_rented_job(
    session: Session,
    path: Path,
    spec: JobSpec,
    report: DatasetReport,
    request: MachineRequest,
    *,
    retry_of: str | None = None,
    expected_usd: float | None = None,
    over_limit: str = "",
    foreseen: Forecast | None = None,
    created_by: str | None = None,
    training_file_id: str | None = None,
    webhook: WebhookTarget | None = None,
) -> tuple[StoredJob, bool]:
    """Write the job and its machine down; returns the job, and False if it was there already.

    `expected_usd` is what it is expected to cost, all of its budget where nobody knows;
    `over_limit` is why it may go beyond the monthly limit; `foreseen` is kept with the job, to be
    compared with what it took. `created_by` and `training_file_id` are the web application's;
    `webhook` is who is told of it, None as for `jobs.start_job`.

    Raises:
        InvalidDataset: the report has errors; nothing was started.
        InvalidJobSpec: the id belongs to a job with another spec.
        InvalidBaseModel: a machine of the user's would not get at the model.
        OverMonthlyLimit: the month would cost more than its limit, and there is no reason.

    A moving revision, or none, is frozen as the commit that it means now: every machine of the job
    loads the same weights, and so does whoever reads its manifest. A start that is repeated under
    the same id without a revision means the commit that the first one froze.
    """
    if report.has_errors:
        raise InvalidDataset(f"{path}: has errors; nothing was started.")
    spec = await frozen_spec(session.store, spec, request)
    budget_usd = request.budget_usd
    await require_month_for(session, spec.job_id, budget_usd, expected_usd, over_limit)
    await record_check(session.store, CheckedFile(path, spec.dataset, spec.base_model, report))
    host = RUNPOD_PREFIX + spec.job_id
    job, is_new = await session.store.add_job(
        spec, host, retry_of, request, created_by=created_by, training_file_id=training_file_id
    )
    await keep_forecast(session.store, spec.job_id, foreseen)
    await keep_target(session.store, spec.job_id, webhook, retry_of)
    return job, is_new


async def require_month_for(
    session: Session,
    job_id: str,
    budget_usd: float,
    expected_usd: float | None = None,
    over_limit: str = "",
) -> None:
    """See that the month has room for a job that is not written down yet.

    Raises:
        OverMonthlyLimit: it has none, and there is no reason to go beyond.
    """
    if await session.store.rentals.get(job_id) is None:
        expected = budget_usd if expected_usd is None else min(expected_usd, budget_usd)
        await require_month(session.store, job_id, expected, over_limit)


async def frozen_spec(store: Store, spec: JobSpec, request: MachineRequest) -> JobSpec:
    """The spec with the commit of its base model, which a machine can get at."""
    if spec.base_model_revision is None:
        with contextlib.suppress(UnknownJob):
            before = (await store.get_job(spec.job_id)).spec
            if before.base_model == spec.base_model:
                frozen = {"base_model_revision": before.base_model_revision}
                spec = spec.model_copy(update=frozen)
    hub = await asyncio.to_thread(_require_model, spec, request)
    return spec if hub is None else spec.model_copy(update={"base_model_revision": hub.commit})


def _require_model(spec: JobSpec, request: MachineRequest) -> HubModel | None:
    """A model that the machine can get at: it has nothing of this one's disk."""
    model = spec.base_model
    if Path(model).is_absolute():
        if not (request.keeps_results and Path(model).is_relative_to(request.mount_path)):
            raise InvalidBaseModel(
                f"{model}: a rented machine has no such directory. Name a model of the hub, or one "
                f"that lies on the job's network volume, below {request.mount_path}."
            )
    elif model.startswith(("~", ".")) or Path(model).is_dir():
        raise InvalidBaseModel(
            f"{model}: is a directory of this machine, which a rented one does not have. Name a "
            "model of the hub."
        )
    return require_hub_model(model, spec.base_model_revision)


async def request_of(session: Session, job: StoredJob) -> StoredRental:
    """What was agreed for the job.

    Raises:
        InvalidInput: it runs on no rented machine.
    """
    stored = await session.store.rentals.get(job.job_id)
    if stored is None:
        raise InvalidInput(f"{job.job_id} runs on {job.host}: nothing is rented for it.")
    return stored


async def cancel_rented_job(session: Session, job: StoredJob, reason: str) -> StoredJob:
    """Have the controller end the job and its machine; a job that is final stays as it is."""
    await session.store.rentals.wish(job.job_id, Wish.CANCEL, reason or "cancelled")
    return await session.store.get_job(job.job_id)


def reason_in(answer: str) -> str:
    """What follows `go on:`; "" where there is nothing."""
    word, _, reason = answer.partition(":")
    return reason.strip() if word.strip().lower() == GO_ON else ""


async def answer_question(session: Session, job: StoredJob, answer: str) -> None:
    """Answer what the job asks; where it asks for a reason, `go on:` before it may be left out.

    Raises:
        InvalidInput: it asks nothing, or for a reason and there is none.
    """
    stored = await request_of(session, job)
    if not stored.rental.question:
        raise InvalidInput(f"{job.job_id} asks nothing; `brightrun show {job.job_id}` says more.")
    if stored.rental.over_limit:
        reason = checked_reason(reason_in(answer) or answer.removeprefix(GO_ON).lstrip(" :"))
        if not reason:
            raise InvalidInput(f"Say why: `brightrun answer {job.job_id} '{GO_ON}: REASON'`.")
        answer = f"{GO_ON}: {reason}"
    await session.store.rentals.answer(job.job_id, answer)
