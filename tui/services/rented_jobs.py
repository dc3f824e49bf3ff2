"""Jobs for which a machine is rented: what the user wants of them is written down here.

Nothing here asks a provider for anything. The controller reads the ledger and does what is wanted,
in this process or in another.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared.dataset.report import DatasetReport
from shared.errors import InvalidBaseModel, InvalidDataset, InvalidInput
from shared.job_spec import JobSpec
from shared.machine_request import MachineRequest
from shared.rental import Wish
from shared.store.rentals import StoredRental
from shared.store.stored import StoredJob
from tui.services.dataset_check import CheckedFile
from tui.services.dataset_registry import record_check
from tui.services.hosts.names import RUNPOD_PREFIX
from tui.services.hub_files import require_hub_model
from tui.services.session import Session

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
) -> tuple[StoredJob, bool]:
    """Write the job and its machine down; returns the job, and False if it was there already.

    Raises:
        InvalidDataset: the report has errors; nothing was started.
        InvalidJobSpec: the id belongs to a job with another spec.
        InvalidBaseModel: a machine of the user's would not get at the model.
    """
    if report.has_errors:
        raise InvalidDataset(f"{path}: has errors; nothing was started.")
    await asyncio.to_thread(_require_model, spec, request)
    await record_check(session.store, CheckedFile(path, spec.dataset, spec.base_model, report))
    return await session.store.add_job(spec, RUNPOD_PREFIX + spec.job_id, retry_of, request)


def _require_model(spec: JobSpec, request: MachineRequest) -> None:
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
    require_hub_model(model, spec.base_model_revision)


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


async def answer_question(session: Session, job: StoredJob, answer: str) -> None:
    """Answer what the job asks.

    Raises:
        InvalidInput: it asks nothing.
    """
    stored = await request_of(session, job)
    if not stored.rental.question:
        raise InvalidInput(f"{job.job_id} asks nothing; `brightrun show {job.job_id}` says more.")
    await session.store.rentals.answer(job.job_id, answer)
