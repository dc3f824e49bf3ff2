"""Brings an adapter home: resumable, verified, and there in one piece or not at all.

Files arrive in `DEST/<job id>.partial/`; a download that was cut off goes on where it stopped. The
directory gets its name only when every hash, and the manifest's own list, hold. The agent's file
names are foreign input: none of them can leave the directory.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path, PurePosixPath
from typing import Protocol

from shared.agent_protocol import ArtifactFile, ArtifactList
from shared.clean_text import clean_line
from shared.errors import AdapterRejected, IntegrityError, InvalidInput, ProtocolError
from shared.manifest import (
    MANIFEST_NAME,
    PARTIAL_SUFFIX,
    file_sha256,
    sync_directory,
    verify,
)

Progress = Callable[[int, int], None]
"""Called with the bytes that are here, and the bytes of the whole adapter."""


class ArtifactSource(Protocol):
    """Where an adapter's files are to be had: an agent, or a volume without one."""

    async def artifacts(self, job_id: str) -> ArtifactList:
        """The files of the committed adapter."""
        ...

    def download(
        self, job_id: str, path: str, offset: int
    ) -> AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]:
        """The bytes of one file from `offset`: where they really begin, and the chunks."""
        ...


async def fetch_adapter(
    client: ArtifactSource,
    job_id: str,
    destination: Path,
    *,
    manifest_sha256: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Download the job's adapter to `destination/<job id>/` and return that directory.

    `manifest_sha256` is the hash that the job's journal recorded, None if there is none.

    Raises:
        AdapterRejected: bytes whose hash does not hold; the bad file is gone, the rest is kept.
        InvalidInput: the place is taken by something else, or cannot be written.
        AgentUnreachable: the connection was lost; calling again goes on from there.
    """
    files = (await client.artifacts(job_id)).files
    _check_listing(files, manifest_sha256)
    final = destination / job_id
    partial = final.with_name(final.name + PARTIAL_SUFFIX)
    try:
        if final.exists():
            await asyncio.to_thread(_check_already_here, final, files)
            return final
        partial.mkdir(parents=True, exist_ok=True, mode=0o700)
        download = _Download(client, job_id, partial, files, progress)
        for file in files:
            await download.fetch(file)
        await asyncio.to_thread(_commit, partial, final, files)
    except OSError as error:
        raise InvalidInput(
            f"{final}: cannot be written ({error.strerror}). Choose another place with --to."
        ) from error
    return final


class _Download:
    """The files of one adapter on their way into a partial directory."""

    def __init__(
        self,
        client: ArtifactSource,
        job_id: str,
        partial: Path,
        files: tuple[ArtifactFile, ...],
        progress: Progress,
    ) -> None:
        self._client = client
        self._job_id = job_id
        self._partial = partial
        self._progress = progress
        self._total_bytes = sum(file.size_bytes for file in files)
        self._complete_bytes = 0

    async def fetch(self, file: ArtifactFile) -> None:
        """Have the file complete and verified, with what an earlier try left."""
        target = self._partial / file.path
        part = target.with_name(target.name + ".part")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not await asyncio.to_thread(_holds, target, file):
            was_resumed = part.exists()
            try:
                await self._fill(part, file)
            except AdapterRejected:
                # What an earlier try left may be of another adapter: once more, from nothing.
                if not was_resumed:
                    raise
                await self._fill(part, file)
            os.replace(part, target)
        self._complete_bytes += file.size_bytes
        self._progress(self._complete_bytes, self._total_bytes)

    async def _fill(self, part: Path, file: ArtifactFile) -> None:
        have_bytes = part.stat().st_size if part.exists() else 0
        if have_bytes < file.size_bytes or file.size_bytes == 0:
            await self._append(part, file, have_bytes)
        if not await asyncio.to_thread(_holds, part, file):
            part.unlink()
            raise AdapterRejected(
                f"{clean_line(file.path)}: what arrived does not have the sha256 that the agent "
                "listed. Nothing was kept of it; fetch again."
            )

    async def _append(self, part: Path, file: ArtifactFile, have_bytes: int) -> None:
        async with self._client.download(self._job_id, file.path, have_bytes) as (begin, chunks):
            with part.open("ab") as writer:
                writer.truncate(begin)
                async for chunk in chunks:
                    writer.write(chunk)
                    if writer.tell() > file.size_bytes:
                        break  # More than was announced: the hash will not hold.
                    self._progress(self._complete_bytes + writer.tell(), self._total_bytes)
                writer.flush()
                os.fsync(writer.fileno())


def _check_listing(files: tuple[ArtifactFile, ...], manifest_sha256: str | None) -> None:
    """Refuse names that leave the directory, and a manifest other than the journal's."""
    for file in files:
        _check_path(file.path)
    manifests = [file for file in files if PurePosixPath(file.path).name == MANIFEST_NAME]
    if len(manifests) != 1 or len({file.path for file in files}) != len(files):
        raise ProtocolError(f"the agent's list of files is not that of one {MANIFEST_NAME}.")
    if manifest_sha256 is not None and manifests[0].sha256 != manifest_sha256:
        raise AdapterRejected(
            f"the agent offers an adapter with manifest {manifests[0].sha256[:12]}, the job's "
            f"journal recorded {manifest_sha256[:12]}: the adapter on the host was changed."
        )


def _check_path(path: str) -> None:
    parts = path.split("/")
    is_plain = path == clean_line(path) and not path.startswith("~") and "\\" not in path
    if not is_plain or any(part in ("", ".", "..") for part in parts):
        raise AdapterRejected(
            f"the agent lists a file {clean_line(path)!r}, which would leave the directory."
        )


def _holds(path: Path, file: ArtifactFile) -> bool:
    return (
        path.is_file()
        and path.stat().st_size == file.size_bytes
        and file_sha256(path) == file.sha256
    )


def _check_already_here(final: Path, files: tuple[ArtifactFile, ...]) -> None:
    if not all(_holds(final / file.path, file) for file in files):
        raise InvalidInput(
            f"{final}: is there already, and is not this adapter. Move it, or choose another place "
            "with --to."
        )


def _commit(partial: Path, final: Path, files: tuple[ArtifactFile, ...]) -> None:
    """Let the manifest judge its directory, then give it its name."""
    manifest = next(file for file in files if PurePosixPath(file.path).name == MANIFEST_NAME)
    listed = {file.path for file in files}
    for path in sorted(partial.rglob("*")):
        # Left by a try that was cut off while the job had another adapter.
        if path.is_file() and path.relative_to(partial).as_posix() not in listed:
            path.unlink()
    try:
        verify((partial / manifest.path).parent)
    except IntegrityError as error:
        shutil.rmtree(partial)
        raise AdapterRejected(str(error)) from error
    os.rename(partial, final)
    sync_directory(final.parent)
