"""Versions of models as people use them: found, named, and moved from status to status.

Asks no machine. What is allowed is said by `shared.model_version`, what is written by the store.
"""

from __future__ import annotations

from shared.deployment import DeploymentStatus
from shared.errors import InvalidInput
from shared.model_version import (
    ModelVersion,
    checked_model_name,
    checked_reason,
    parse_reference,
    why_not,
)
from shared.store.model_versions import Change
from tui.services.kept_versions import keep_version
from tui.services.session import Session
from tui.services.who import who_acts


async def sync_versions(session: Session) -> int:
    """Make versions of all that completed without one; returns how many were made.

    Raises:
        StoreError: the store cannot be read or written.
    """
    store = session.store
    made = [await keep_version(store, job_id) for job_id in await store.models.jobs_without()]
    return sum(version is not None for version in made)


async def find_version(session: Session, typed: str) -> ModelVersion:
    """The version that `NAME:VERSION` means, or the newest of `NAME`.

    Raises:
        InvalidInput: there is none.
    """
    await sync_versions(session)
    name, version = parse_reference(typed)
    return await session.store.models.find(name, version)


async def move_version(
    session: Session, version: ModelVersion, to: DeploymentStatus, why: str
) -> ModelVersion:
    """Give it another deployment status, for a reason that is kept.

    Raises:
        InvalidInput: it cannot become that, or was changed by somebody else meanwhile.
    """
    reason = checked_reason(why)
    if refusal := why_not(version, to):
        raise InvalidInput(refusal)
    change = Change(who_acts(session.config), reason)
    return await session.store.models.move(version, to, change)


async def name_version(session: Session, job_id: str, typed: str, why: str = "") -> ModelVersion:
    """Let a job's version be the next one of another model.

    Raises:
        InvalidInput: the name is none, the job has no version, or it is in production.
        UnknownJob: there is no such job.
    """
    name = checked_model_name(typed)
    job = await session.store.get_job(job_id)
    version = await keep_version(session.store, job.job_id)
    if version is None:
        raise InvalidInput(f"{job.job_id} is {job.status} and has no verified adapter to name.")
    if version.model_name == name:
        return version
    if version.is_deleted or version.status is DeploymentStatus.PRODUCTION:
        state = "deleted" if version.is_deleted else version.status.value
        raise InvalidInput(f"{version.reference} is {state}: it keeps its name.")
    change = Change(who_acts(session.config), why.strip() or "another name")
    return await session.store.models.rename(version, name, change)
