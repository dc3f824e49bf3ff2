"""Uploads that somebody asks for: now, and with what does not go up by itself.

One process at a time sends. Where it is another one, what is asked for is written down for it, and
this one looks on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import BrightRunError, InvalidInput, SupabaseUnreachable
from shared.store.rentals import OUTWARD_LEASE
from shared.store.stored import StoredJob
from shared.store.uploads import ArtifactType, PlannedUpload, StoredUpload
from tui.services.artifact_uploads.gathering import (
    owner_of,
    plan_directory,
    plan_listed_checkpoint,
)
from tui.services.artifact_uploads.worker import Worker, WorkerSettings
from tui.services.controller.leadership import Leadership
from tui.services.session import Session
from tui.services.supabase.settings import SupabaseSettings, load_settings

_LEASE_S = 30.0
_LOOK_S = 0.5
_OTHER_PATIENCE_S = 60.0
"""Without a change, before the other process is not waited for."""

Seen = Callable[[Sequence[StoredUpload]], None]


@dataclass(frozen=True, slots=True)
class Extra:
    """What goes up only on request."""

    checkpoint_steps: tuple[int, ...] = ()
    """Of checkpoints that the job's agent still has."""
    checkpoints: tuple[Path, ...] = ()
    """Directories with a manifest."""
    merged: Path | None = None
    """The same, as `brightrun export` made it."""


def project() -> SupabaseSettings:
    """The Supabase project of the environment.

    Raises:
        InvalidInput: none is named.
    """
    settings = load_settings()
    if settings is None:
        raise InvalidInput(
            "no Supabase project is named: set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY, and log "
            "in with `brightrun supabase login`."
        )
    return settings


async def upload_now(
    session: Session,
    job: StoredJob,
    extra: Extra = Extra(),
    on_look: Seen = lambda uploads: None,
    settings: WorkerSettings | None = None,
) -> list[StoredUpload]:
    """Upload a job's files and read them back; returns them as they are in the end.

    Raises:
        InvalidInput: the job has not ended, or has nothing to upload.
        SupabaseError: not now; the same again goes on where it stopped.
    """
    if not job.status.is_final:
        raise InvalidInput(f"{job.job_id} is {job.status}: its files go up once it has ended.")
    to = project()
    worker = Worker(session, to, settings=settings)
    planned = await _planned(session, job, extra)
    await session.store.uploads.plan(to.target, planned)
    if job.state.adapter_verified:
        await worker.plan(job)
    elif not planned:
        raise InvalidInput(f"{job.job_id} is {job.status} and has no verified adapter to upload.")
    leadership = Leadership(session.store.rentals, "upload", _LEASE_S, OUTWARD_LEASE)
    looking = asyncio.create_task(_look(session, job.job_id, to.target, on_look))
    try:
        if await leadership.renew():
            await _as_leader(leadership, worker.upload(job))
        else:
            await _look_on(session, job.job_id, to.target)
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        await leadership.give_up()
    return await session.store.uploads.of_job(job.job_id, to.target)


async def _planned(session: Session, job: StoredJob, extra: Extra) -> list[PlannedUpload]:
    owner = await owner_of(session, job)
    directories = [(ArtifactType.CHECKPOINT, path) for path in extra.checkpoints]
    if extra.merged is not None:
        directories.append((ArtifactType.MERGED_MODEL, extra.merged))
    planned = [
        upload
        for kind, path in directories
        for upload in await asyncio.to_thread(plan_directory, owner, kind, path)
    ]
    if extra.checkpoint_steps:
        host = session.host_of(job)
        await host.ensure_agent()
        async with host.client() as client:
            listed = (await client.uploadable(job.job_id)).files
        for step in extra.checkpoint_steps:
            planned += plan_listed_checkpoint(owner, listed, step)
    return planned


async def _as_leader(leadership: Leadership, work: Coroutine[None, None, None]) -> None:
    """Do the work while the lease holds; it is left where the next one finds it otherwise."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            if not await leadership.renew():
                raise SupabaseUnreachable("another process has taken over the uploads.")
            await asyncio.wait({task}, timeout=_LEASE_S / 6)
        task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, BrightRunError):
            await task


async def _look_on(session: Session, job_id: str, target: str) -> None:
    """While another process uploads."""
    clock = asyncio.get_running_loop().time
    changed_at, before = clock(), None
    while True:
        uploads = await session.store.uploads.of_job(job_id, target)
        if not any(upload.state.is_open for upload in uploads):
            return
        now = [(upload.state, upload.updated_at) for upload in uploads]
        if now != before:
            changed_at, before = clock(), now
        if clock() - changed_at > _OTHER_PATIENCE_S:
            raise SupabaseUnreachable(
                "another process of yours sends what goes to Supabase, and nothing moves there: "
                "it is written down, and goes up when that one gets to it."
            )
        await asyncio.sleep(_LOOK_S)


async def _look(session: Session, job_id: str, target: str, on_look: Seen) -> None:
    while True:
        on_look(await session.store.uploads.of_job(job_id, target))
        await asyncio.sleep(_LOOK_S)
