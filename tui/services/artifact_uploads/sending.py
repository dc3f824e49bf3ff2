"""Uploads a job's files: those of this machine from here, those of its agent straight from there.

Every step is written down in the store, so that whoever is killed is followed by whoever comes
next. The store's rows are only ever moved forward by what the server said.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import IntegrityError, SupabaseError, SupabaseRefused
from shared.store.uploads import ArtifactType, StoredUpload, Uploads, UploadState
from shared.upload.client import UploadSettings, upload_file
from shared.upload.contract import AskedUpload, FileUpload, UploadsRequest
from shared.upload.contract import UploadState as AgentState
from shared.upload.file import UploadSource
from shared.upload.ledger import FileLedger
from shared.upload.progress import UploadProgress
from tui.services.agent_client import AgentClient
from tui.services.artifact_uploads.reading_back import read_back
from tui.services.supabase.connection import Supabase
from tui.services.supabase.settings import BUCKET
from tui.services.supabase.storage import ObjectExists, Storage

_PATIENCE_S = 120.0
"""Without a byte, before a file is left for the next turn."""
_UNTRUE_AT_MOST = 2
"""So often a file's bytes may come back wrong before a person has to look."""


@dataclass(frozen=True, slots=True)
class SendingSettings:
    """Seconds."""

    note_s: float = 1.0
    """Between two notes of how far a file is."""
    poll_s: float = 1.0
    """Between two looks at an agent's uploads."""
    stall_s: float = 90.0
    """Without a byte from an agent, before it is asked to give up."""
    client: UploadSettings = field(default_factory=lambda: UploadSettings(patience_s=_PATIENCE_S))


class Sending:
    """One connection's worth of uploading."""

    def __init__(
        self,
        uploads: Uploads,
        supabase: Supabase,
        home: Path,
        settings: SendingSettings | None = None,
    ) -> None:
        self._uploads = uploads
        self._supabase = supabase
        self.storage = Storage(supabase)
        self._settings = settings or SendingSettings()
        target = hashlib.sha256(supabase.settings.target.encode()).hexdigest()[:12]
        self._ledger = FileLedger(home / "uploads" / f"begun-{target}.json")
        self._untrue: dict[str, int] = {}

    async def send_from_here(self, upload: StoredUpload) -> None:
        """Upload one file of this machine. One that is not what was planned is refused for good.

        Raises:
            SupabaseError: not now; what is there stays. A limit or a rule may be changed meanwhile.
        """
        path = upload.local_path
        assert path is not None, "a file of an agent goes up from there"
        name = upload.object_name
        source = UploadSource(path, name, BUCKET, upload.content_type, upload.sha256)
        try:
            async with self._noting(name) as progress:
                await upload_file(
                    self._supabase.http,
                    self.storage.upload_endpoint,
                    source,
                    self._ledger,
                    lambda: self.storage.sign_upload(name),
                    progress.append,
                    self._settings.client,
                    read_back=lambda: self._size_there(name),
                )
        except ObjectExists:  # The answer that said so was lost.
            await self._arrived(upload)
        except IntegrityError as error:  # The file is gone, or is another.
            await self._uploads.note(name, UploadState.REFUSED, error=str(error))
        except SupabaseError as error:
            await self._uploads.note(name, UploadState.WAITING, error=str(error))
            raise
        else:
            await self._arrived(upload)

    async def send_from_agent(
        self,
        client: AgentClient,
        job_id: str,
        uploads: Sequence[StoredUpload],
        paths: Mapping[str, str],
    ) -> bool:
        """Have the job's agent upload files; True once all are there.

        `paths` say by object what the agent calls each. False where it makes no headway: it is
        then told to give up.

        Raises:
            AgentError: it does not answer, or is too old to upload.
            SupabaseError: no token is to be had now.
        """
        waiting = {upload.object_name: upload for upload in uploads}
        loop = asyncio.get_running_loop()
        moved_at, sent_bytes = loop.time(), -1
        without_token = list(waiting)
        while waiting:
            for name in await self._ask_agent(client, job_id, waiting, without_token, paths):
                await self._arrived(waiting.pop(name))
            files = {file.object_name: file for file in (await client.uploads(job_id)).files}
            for name in [name for name in waiting if name in files]:
                if await self._noted(waiting[name], files[name]):
                    del waiting[name]
            if any(name in files and files[name].state is AgentState.FAILED for name in waiting):
                return False
            without_token = [
                name
                for name in waiting
                if name not in files or files[name].state is AgentState.NEEDS_TOKEN
            ]
            total = sum(file.sent_bytes for file in files.values())
            if total > sent_bytes:
                moved_at, sent_bytes = loop.time(), total
            elif loop.time() - moved_at > self._settings.stall_s:
                return False
            await asyncio.sleep(self._settings.poll_s)
        return True

    async def verify(self, upload: StoredUpload) -> None:
        """Read one object back; what does not hold is removed, and sent once more.

        Raises:
            SupabaseError: it cannot be read now.
        """
        name = upload.object_name
        try:
            await read_back(self.storage, upload)
        except IntegrityError as error:
            await self._ledger.forget(name)
            times = self._untrue[name] = self._untrue.get(name, 0) + 1
            with contextlib.suppress(SupabaseRefused):
                await self.storage.remove([name])
            state = UploadState.REFUSED if times > _UNTRUE_AT_MOST else UploadState.WAITING
            await self._uploads.note(name, state, sent_bytes=0, error=str(error))
        else:
            await self._uploads.note(name, UploadState.VERIFIED, sent_bytes=upload.size_bytes)

    async def _ask_agent(
        self,
        client: AgentClient,
        job_id: str,
        waiting: Mapping[str, StoredUpload],
        names: Sequence[str],
        paths: Mapping[str, str],
    ) -> list[str]:
        """Hand over a new token for each of `names`; returns those that are there already."""
        there: list[str] = []
        asked: list[AskedUpload] = []
        for name in names:
            upload = waiting[name]
            try:
                token = await self.storage.sign_upload(name)
            except ObjectExists:
                there.append(name)
                continue
            except SupabaseError as error:
                await self._uploads.note(name, UploadState.WAITING, error=str(error))
                raise
            path, kind = paths[name], upload.content_type
            asked.append(AskedUpload(path=path, object_name=name, token=token, content_type=kind))
        if asked:
            endpoint = self.storage.upload_endpoint
            request = UploadsRequest(endpoint=endpoint, files=tuple(asked), bucket=BUCKET)
            await client.start_uploads(job_id, request)
        return there

    async def _noted(self, upload: StoredUpload, file: FileUpload) -> bool:
        """Write down what the agent says; True where the file is there."""
        if file.state is AgentState.UPLOADED:
            await self._arrived(upload)
            return True
        state = UploadState.UPLOADING
        if file.state in (AgentState.FAILED, AgentState.WAITING):
            state = UploadState.WAITING
        seen = (upload.state, upload.sent_bytes, upload.error)
        if (state, file.sent_bytes, file.error) != seen or file.bytes_per_s:
            await self._uploads.note(
                upload.object_name,
                state,
                sent_bytes=file.sent_bytes,
                bytes_per_s=file.bytes_per_s,
                error=file.error,
            )
        return False

    async def _arrived(self, upload: StoredUpload) -> None:
        await self._uploads.note(
            upload.object_name, UploadState.UPLOADED, sent_bytes=upload.size_bytes
        )

    async def _size_there(self, name: str) -> int | None:
        try:
            facts = await self.storage.facts(name)
        except SupabaseError:
            return None
        return None if facts is None else facts.size_bytes

    @asynccontextmanager
    async def _noting(self, name: str) -> AsyncIterator[list[UploadProgress]]:
        """A place for progress, the latest of which is written down now and then."""
        seen: list[UploadProgress] = []

        async def write() -> None:
            while True:
                if seen:
                    latest = seen[-1]
                    seen.clear()
                    await self._uploads.note(
                        name,
                        UploadState.UPLOADING,
                        sent_bytes=latest.sent_bytes,
                        bytes_per_s=latest.bytes_per_s,
                    )
                await asyncio.sleep(self._settings.note_s)

        writing = asyncio.create_task(write())
        try:
            yield seen
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing


def in_order(uploads: Sequence[StoredUpload]) -> list[StoredUpload]:
    """Small ones first, and what stands for a whole directory last."""
    return sorted(
        uploads, key=lambda each: (each.artifact_type is not ArtifactType.FILE, each.size_bytes)
    )
