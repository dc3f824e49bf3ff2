"""Brings an adapter from the bucket, or makes a link to one of its files.

Also for a job that only another console knows: its id in the web application is enough.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import UUID

from shared.errors import InvalidInput, UnknownJob
from shared.store.stored import StoredJob
from shared.store.uploads import ArtifactType, StoredUpload, UploadState
from tui.services.artifact_uploads.asked import project
from tui.services.artifact_uploads.gathering import adapter_directory
from tui.services.artifact_uploads.in_storage import StoredAdapter, adapter_folder
from tui.services.artifact_uploads.package import write_package
from tui.services.artifacts import Progress, fetch_adapter
from tui.services.session import Session
from tui.services.supabase.storage import Storage

MAIN_FILE = "adapter_model.safetensors"
_THERE = (UploadState.UPLOADED, UploadState.VERIFIED)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An adapter in the bucket."""

    name: str
    """The job's id here, or in the web application."""
    folder: str
    manifest_sha256: str | None
    """As the job's journal recorded it; None where the job is not ours."""


async def download_adapter(
    session: Session, typed: str, destination: Path, progress: Progress
) -> Path:
    """Fetch the adapter of a job into `destination/<job>/`; called again, it goes on.

    Raises:
        InvalidInput: nothing of it is in the bucket, or the place is taken.
        AdapterRejected: bytes that are not those that the manifest names.
        SupabaseError: not now.
    """
    async with _storage(session) as storage:
        wanted = await _find(session, storage, typed)
        source = StoredAdapter(storage, wanted.folder)
        return await fetch_adapter(
            source,
            wanted.name,
            destination,
            manifest_sha256=wanted.manifest_sha256,
            progress=progress,
        )


async def link_to(session: Session, typed: str, file_name: str, lifetime_s: int) -> str:
    """A URL with which anybody reads one file of a job for so long.

    Raises:
        InvalidInput: no file of that name of the job is in the bucket.
    """
    async with _storage(session) as storage:
        try:
            job = await session.store.get_job(typed)
        except UnknownJob:
            wanted = await _find(session, storage, typed)
            name = f"{wanted.folder}/{file_name}"
        else:
            uploads = await session.store.uploads.of_job(job.job_id, project().target)
            name = _named(job, uploads, file_name)
        return await storage.signed_url(name, lifetime_s, save_as=file_name)


async def package_adapter(
    session: Session, job: StoredJob, target: Path, progress: Progress
) -> Path:
    """A ZIP file of the job's adapter, wherever that lies now.

    Raises:
        InvalidInput: there is no verified adapter, or `target` is there already.
        AgentError: its machine does not answer, and the bucket has none.
    """
    if not job.state.adapter_verified:
        raise InvalidInput(f"{job.job_id} is {job.status} and has no verified adapter.")
    directory = await adapter_directory(session, job)
    if directory is not None:
        return await asyncio.to_thread(write_package, directory, target)
    session.config.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=session.config.home, prefix="package-") as folder:
        if job.state.rented:
            fetched = await download_adapter(session, job.job_id, Path(folder), progress)
        else:
            host = session.host_of(job)
            await host.ensure_agent()
            async with host.client() as client:
                fetched = await fetch_adapter(
                    client,
                    job.job_id,
                    Path(folder),
                    manifest_sha256=job.state.adapter_manifest_sha256,
                    progress=progress,
                )
        return await asyncio.to_thread(write_package, fetched / "adapter", target)


@asynccontextmanager
async def _storage(session: Session) -> AsyncIterator[Storage]:
    from tui.services.supabase.connection import connected

    async with connected(project(), session.config.supabase_session_path) as supabase:
        yield Storage(supabase)


async def _find(session: Session, storage: Storage, typed: str) -> Wanted:
    try:
        job = await session.store.get_job(typed)
    except UnknownJob:
        if not _is_uuid(typed):
            raise
        return Wanted(typed, await adapter_folder(storage, typed), None)
    uploads = await session.store.uploads.of_job(job.job_id, project().target)
    main = [
        upload
        for upload in uploads
        if upload.artifact_type is ArtifactType.LORA_ADAPTER and upload.state in _THERE
    ]
    if not main:
        raise InvalidInput(
            f"{job.job_id} has no adapter in Supabase: `brightrun artifacts list {job.job_id}`."
        )
    newest = max(main, key=lambda upload: upload.attempt)
    folder = str(PurePosixPath(newest.object_name).parent)
    return Wanted(job.job_id, folder, job.state.adapter_manifest_sha256)


def _named(job: StoredJob, uploads: list[StoredUpload], file_name: str) -> str:
    found = [each for each in uploads if each.file_name == file_name and each.state in _THERE]
    if not found:
        names = ", ".join(sorted({each.file_name for each in uploads if each.state in _THERE}))
        raise InvalidInput(
            f"{job.job_id} has no {file_name!r} in Supabase; it has {names or 'nothing there'}."
        )
    # Those that stand for a directory come first: of two of a name they are meant.
    return found[0].object_name


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
