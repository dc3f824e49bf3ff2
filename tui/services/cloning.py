"""A new job of another one's settings and training file, which need not have ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import InvalidInput
from shared.job_options import changed_spec
from shared.job_spec import JobSpec, new_job_id
from shared.store.stored import StoredJob
from tui.services.hosts.host import Step, in_silence
from tui.services.hosts.names import RUNPOD, checked_host_name
from tui.services.jobs import Again, start_like
from tui.services.session import Session


def cloned_spec(spec: JobSpec, changes: Mapping[str, Any]) -> JobSpec:
    """The same settings with changes, from the base model on: a clone is a run of its own.

    Raises:
        InvalidHyperparameter, InvalidJobSpec: a change out of its range.
    """
    afresh = {"resume_from": None, "force_resume": False}
    return changed_spec(spec, {**afresh, **changes, "job_id": new_job_id()})


async def clone_job(
    session: Session,
    job: StoredJob,
    changes: Mapping[str, Any],
    again: Again,
    on_step: Step = in_silence,
) -> StoredJob:
    """Start a job like `job`, which stays as it is; no retry of it.

    Raises:
        InvalidInput: a machine is to be rented, and none was for `job`; or a change out of range.
        BrightRunError: as for `start_like`.
    """
    return await start_like(session, job, cloned_spec(job.spec, changes), again, on_step)


def host_of_clone(job: StoredJob, typed: str | None) -> str | None:
    """Where the clone goes; None: as the job itself, on a machine of its own if that is rented.

    Raises:
        InvalidInput: no host, or a machine to rent of which nothing is known.
    """
    if typed is None:
        return None
    host = checked_host_name(typed)
    if host != RUNPOD:
        return host
    if job.state.rented:
        return None
    raise InvalidInput(
        f"{job.job_id} runs on {job.host}: it says nothing of a machine to rent. Save it as a "
        "template, and give that to `brightrun start --host runpod`."
    )
