"""Starts a job that goes on from another one's newest checkpoint.

The bytes stay on the host; a reference names them by the hash of their manifest, and the trainer
there compares everything else. It knows nothing of how a job is handed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from shared.errors import InvalidInput
from shared.events import CheckpointCommitted, CheckpointRefused
from shared.job_options import OF_THE_RUN, changed_settings, changed_spec
from shared.job_spec import CheckpointReference, JobSpec
from shared.lifecycle import JobStatus
from shared.store.store import Store
from shared.store.stored import StoredJob
from tui.services import jobs
from tui.services.hosts.host import Step, in_silence
from tui.services.session import Session


async def resume_job(
    session: Session,
    job: StoredJob,
    changes: Mapping[str, Any],
    on_step: Step = in_silence,
    budget_usd: float | None = None,
    over_limit: str = "",
) -> StoredJob:
    """Start a job like `job`, `changes` apart, at its newest checkpoint and on the same host.

    A rented one goes on on the same network volume; `budget_usd` and `over_limit` are as for
    `jobs.retry_job`.

    Raises:
        InvalidInput: it has not ended, has completed, or has no checkpoint; or a change makes it
            another run, and `force_resume` is not among the changes.
        AgentUnreachable, AgentRefused: as for `jobs.start_job`.
    """
    _require_interrupted(job)
    reference = await newest_checkpoint(session.store, job)
    if reference is None:
        raise InvalidInput(
            f"{job.job_id} has no checkpoint to go on from; `brightrun retry {job.job_id}` starts "
            "it again from the base model."
        )
    _require_same_run(job, changed_spec(job.spec, changes))
    changes = {**changes, "resume_from": reference}
    return await jobs.retry_job(session, job, on_step, changes, budget_usd, over_limit)


async def newest_checkpoint(store: Store, job: StoredJob) -> CheckpointReference | None:
    """What the job committed last and no later attempt refused; else what it began with itself."""
    refused = {
        _place_before(event.path) for event in await store.events_of(job.job_id, CheckpointRefused)
    }
    for event in reversed(await store.events_of(job.job_id, CheckpointCommitted)):
        if event.path not in refused:
            return CheckpointReference(
                job_id=job.job_id, step=event.step, manifest_sha256=event.manifest_sha256
            )
    return job.spec.resume_from


def _place_before(refused_path: str) -> str:
    """Where a refused checkpoint lay: `.../checkpoints/refused/step-1` was `.../step-1`."""
    path = PurePosixPath(refused_path)
    return str(path.parent.parent / path.name)


def _require_interrupted(job: StoredJob) -> None:
    if job.status is JobStatus.COMPLETED:
        raise InvalidInput(
            f"{job.job_id} is completed: nothing is left to go on with. "
            f"`brightrun retry {job.job_id}` trains it again."
        )
    if not job.status.is_final:
        raise InvalidInput(
            f"{job.job_id} is {job.status}: it resumes by itself after an interruption; "
            "only a job that has ended can be resumed as a new one."
        )


def _require_same_run(job: StoredJob, spec: JobSpec) -> None:
    """Say here what the trainer on the host would say only once it has loaded the model."""
    changes = [
        f"  {name}: {before} there, {after} here"
        for name, before, after in changed_settings(job.spec, spec)
        if name in OF_THE_RUN
    ]
    if changes and not spec.force_resume:
        listed = "\n".join(changes)
        raise InvalidInput(
            f"The checkpoint of {job.job_id} belongs to a run with other settings:\n{listed}\n"
            "Add --force to go on from it all the same."
        )
