"""Uploads straight from this machine, with tokens that a console hands over.

A token lives in this process's memory and nowhere else. What is on the disk, `uploads.json` of the
job, says where each upload goes on: another agent on the same volume resumes once it gets tokens.
Nothing goes up while the job trains, unless that was asked for.
"""

from __future__ import annotations

import asyncio
import logging

import httpx

from agent.job import Job
from agent.supervisor import Supervisor
from agent.uploadable import find_uploadable
from shared.errors import BrightRunError, SupabaseUnauthorized
from shared.upload.client import UploadSettings, upload_file
from shared.upload.contract import (
    AskedUpload,
    FileUpload,
    UploadsAnswer,
    UploadsRequest,
    UploadState,
)
from shared.upload.file import UploadSource
from shared.upload.ledger import BegunUpload, FileLedger
from shared.upload.progress import UploadProgress

logger = logging.getLogger(__name__)

_AT_A_TIME = 2
"""Files: one reads and hashes while another waits for the network."""
_CLOSE_S = 3.0


class Uploads:
    """All uploads of one agent; `close` stops them where they are."""

    def __init__(self, supervisor: Supervisor, settings: UploadSettings | None = None) -> None:
        self._supervisor = supervisor
        self._settings = settings or UploadSettings()
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._ledgers: dict[str, FileLedger] = {}
        self._transfers: dict[str, dict[str, _Transfer]] = {}
        """By job, then by object."""

    async def ask(self, job_id: str, request: UploadsRequest) -> UploadsAnswer:
        """Begin these uploads, or go on with new tokens; what is under way is not disturbed.

        Raises:
            UnknownJob: no job has this id.
            IntegrityError: a file that is not there.
            MachineReplaced: the job is another machine's by now.
        """
        job = self._supervisor.job(job_id)
        await asyncio.to_thread(self._supervisor.fence.check)
        for asked in request.files:
            await asyncio.to_thread(find_uploadable, job.directory, asked.path)
        transfers = self._transfers.setdefault(job_id, {})
        for asked in request.files:
            transfer = transfers.get(asked.object_name)
            if transfer is None or transfer.asked.path != asked.path:
                if transfer is not None:
                    await transfer.stop()
                transfer = _Transfer(job, self._ledger(job), self._slots, self._settings, asked)
                transfers[asked.object_name] = transfer
            transfer.go_on(asked, request)
        return await self.answer(job_id)

    async def answer(self, job_id: str) -> UploadsAnswer:
        """How far everything is. After a restart of the agent: what was begun needs new tokens.

        Raises:
            UnknownJob: no job has this id.
        """
        job = self._supervisor.job(job_id)
        transfers = self._transfers.get(job_id, {})
        begun = await self._ledger(job).all()
        earlier = [each for each in begun if each.object_name not in transfers]
        files = [transfer.answer for transfer in transfers.values()]
        return UploadsAnswer(files=(*files, *map(_of_earlier_process, earlier)))

    async def give_up(self, job_id: str) -> UploadsAnswer:
        """Stop the job's uploads and forget their tokens; what has arrived stays there.

        Raises:
            UnknownJob: no job has this id.
        """
        self._supervisor.job(job_id)
        for transfer in self._transfers.pop(job_id, {}).values():
            await transfer.stop()
        return await self.answer(job_id)

    async def close(self) -> None:
        """Stop all of them; a last PATCH gets a moment to be answered."""
        every = [each for transfers in self._transfers.values() for each in transfers.values()]
        if every:
            stopping = [asyncio.create_task(transfer.stop()) for transfer in every]
            await asyncio.wait(stopping, timeout=_CLOSE_S)

    def _ledger(self, job: Job) -> FileLedger:
        ledger = self._ledgers.get(job.spec.job_id)
        if ledger is None:
            ledger = FileLedger(job.directory.uploads_path)
            self._ledgers[job.spec.job_id] = ledger
        return ledger


def _of_earlier_process(begun: BegunUpload) -> FileUpload:
    state = UploadState.UPLOADED if begun.is_complete else UploadState.NEEDS_TOKEN
    return FileUpload(
        object_name=begun.object_name,
        state=state,
        sent_bytes=begun.size_bytes if begun.is_complete else 0,
        size_bytes=begun.size_bytes,
        sha256=begun.sha256,
    )


class _Transfer:
    """One object: how far it is, and the task that sends it."""

    def __init__(
        self,
        job: Job,
        ledger: FileLedger,
        slots: asyncio.Semaphore,
        settings: UploadSettings,
        asked: AskedUpload,
    ) -> None:
        self.asked = asked
        self.answer = FileUpload(
            object_name=asked.object_name, state=UploadState.WAITING, path=asked.path
        )
        self._job = job
        self._ledger = ledger
        self._slots = slots
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._token = ""

    def go_on(self, asked: AskedUpload, request: UploadsRequest) -> None:
        """Take a newer token; begin where nothing is under way."""
        self.asked, self._token = asked, asked.token
        if self._task is None or self._task.done():
            self._say(state=UploadState.WAITING, error="")
            self._task = asyncio.create_task(self._run(request))

    async def stop(self) -> None:
        """Return once nothing of it runs any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, request: UploadsRequest) -> None:
        state = UploadState.FAILED
        try:
            await self._its_turn(request.while_training)
            async with self._slots:
                self._say(state=UploadState.UPLOADING)
                await self._send(request)
            state = UploadState.UPLOADED
        except SupabaseUnauthorized as error:
            state = UploadState.NEEDS_TOKEN
            self._say(error=str(error))
        except (BrightRunError, OSError) as error:
            logger.warning("%s: %s", self.asked.object_name, error)
            self._say(error=str(error))
        finally:
            self._token = ""
            self._say(state=state, bytes_per_s=None)

    async def _its_turn(self, while_training: bool) -> None:
        while not (while_training or self._job.state.status.is_final):
            await self._job.changed.wait()

    async def _send(self, request: UploadsRequest) -> None:
        found = await asyncio.to_thread(find_uploadable, self._job.directory, self.asked.path)
        self._say(size_bytes=found.listed.size_bytes, sha256=found.listed.sha256)
        source = UploadSource(
            found.path,
            self.asked.object_name,
            request.bucket,
            self.asked.content_type,
            found.listed.sha256,
        )
        async with httpx.AsyncClient() as http:
            await upload_file(
                http,
                request.endpoint,
                source,
                self._ledger,
                self._next_token,
                self._moved,
                self._settings,
            )

    async def _next_token(self) -> str:
        """Each is used until it has expired; then the console has to bring another."""
        token, self._token = self._token, ""
        if not token:
            raise SupabaseUnauthorized(
                f"The upload token for {self.asked.object_name} has expired: ask for the upload "
                "again with a new one; it goes on where it is."
            )
        return token

    def _moved(self, progress: UploadProgress) -> None:
        self._say(sent_bytes=progress.sent_bytes, bytes_per_s=progress.bytes_per_s)

    def _say(self, **changes: object) -> None:
        self.answer = self.answer.model_copy(update=changes)
