"""Uploads in the background: what of completed jobs is not in Supabase Storage yet, job after job.

A job is planned once it has ended, then uploaded, then read back. Whatever fails is tried again
later; nothing here touches a job's status or its machine.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from shared.errors import (
    AgentError,
    BrightRunError,
    SshRefused,
    SupabaseRefused,
    SupabaseUnauthorized,
    SupabaseUnreachable,
)
from shared.store.stored import StoredJob
from shared.store.uploads import StoredUpload, UploadState
from tui.services.artifact_uploads.gathering import adapter_files, written_files
from tui.services.artifact_uploads.job_files import REPORT_FILE
from tui.services.artifact_uploads.sending import Sending, SendingSettings, in_order
from tui.services.controller.settings import growing_pause_s
from tui.services.session import Session
from tui.services.supabase.settings import SupabaseSettings, load_settings

logger = logging.getLogger(__name__)

Say = Callable[[str], None]

_REFUSED_PAUSE_S = 3600.0
"""Before a machine that said no is asked again unasked: many tries may lock the user out."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Seconds."""

    tick_s: float = 5.0
    """Between two looks for jobs with something to do."""
    first_pause_s: float = 5.0
    longest_pause_s: float = 300.0
    """Before a job with which something went wrong is tried again."""
    sending: SendingSettings = field(default_factory=SendingSettings)


def is_wanted(session: Session) -> bool:
    """True where the environment names a project.

    Raises:
        InvalidInput: what it names does not hold together.
    """
    return load_settings() is not None


async def run(session: Session, say: Say) -> None:
    """Until cancelled."""
    settings = load_settings()
    assert settings is not None, "asked for only where it is wanted"
    worker = Worker(session, settings, say)
    while True:
        await worker.look()
        await asyncio.sleep(worker.settings.tick_s)


class Worker:
    """What one process remembers of its tries; everything else is in the store."""

    def __init__(
        self,
        session: Session,
        supabase: SupabaseSettings,
        say: Say = lambda text: None,
        settings: WorkerSettings | None = None,
    ) -> None:
        self.settings = settings or WorkerSettings()
        self._session = session
        self._supabase = supabase
        self._say = say
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._said = ""

    async def look(self) -> None:
        """One turn over all jobs that have something to upload or to read back."""
        uploads, target = self._session.store.uploads, self._supabase.target
        for job_id in await uploads.jobs_without(target, REPORT_FILE):
            if self._is_due(job_id):
                await self._try(job_id, self.plan)
        waiting = await uploads.jobs_with_work(target)
        waiting = [job_id for job_id in waiting if self._is_due(job_id)]
        if not waiting:
            return
        try:
            async with self.connected() as sending:
                for job_id in waiting:
                    await self._try(job_id, partial(self.advance, sending=sending))
        except (SupabaseUnreachable, SupabaseUnauthorized) as error:
            # So it is for every job: none is asked for before its pause is over.
            for job_id in waiting:
                self._put_off(job_id)
            self._say_once(str(error))
        else:
            self._said = ""

    async def plan(self, job: StoredJob) -> None:
        """Write down what of a completed job is to go up.

        Raises:
            BrightRunError: its adapter cannot be listed now.
        """
        adapter = await adapter_files(self._session, job)
        written = await written_files(self._session, job, adapter)
        await self._session.store.uploads.plan(self._supabase.target, [*adapter, *written])

    async def upload(self, job: StoredJob) -> None:
        """Upload and read back what the plan says, once; what could not be is the error.

        Raises:
            BrightRunError: the first thing that went wrong.
        """
        async with self.connected() as sending:
            await self.advance(job, sending)

    async def advance(self, job: StoredJob, sending: Sending) -> None:
        """Upload and read back what the plan says; one file that is refused stops no other.

        Raises:
            BrightRunError: the first thing that went wrong.
        """
        refusals: list[BrightRunError] = []
        for step in (self._send_from_here, self._send_from_agent, self._verify):
            try:
                await step(job, sending)
            except (SupabaseRefused, AgentError) as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]

    async def _send_from_here(self, job: StoredJob, sending: Sending) -> None:
        refusals: list[SupabaseRefused] = []
        for upload in await self._open(job):
            if upload.local_path is None or upload.state is UploadState.UPLOADED:
                continue
            try:
                await sending.send_from_here(upload)
            except SupabaseRefused as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]

    async def _send_from_agent(self, job: StoredJob, sending: Sending) -> None:
        there = [
            upload
            for upload in await self._open(job)
            if upload.agent_path is not None and upload.state is not UploadState.UPLOADED
        ]
        if not there:
            return
        host = self._session.host_of(job)
        await host.ensure_agent()
        paths = {upload.object_name: upload.agent_path or "" for upload in there}
        async with host.client() as client:
            if not await sending.send_from_agent(client, job.job_id, there, paths):
                await client.give_up_uploads(job.job_id)
                raise SupabaseRefused(f"the agent of {job.job_id} could not upload everything.")

    async def _verify(self, job: StoredJob, sending: Sending) -> None:
        for upload in await self._open(job):
            if upload.state is UploadState.UPLOADED:
                await sending.verify(upload)

    async def _open(self, job: StoredJob) -> list[StoredUpload]:
        rows = await self._session.store.uploads.of_job(job.job_id, self._supabase.target)
        return in_order([upload for upload in rows if upload.state.is_open])

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Sending]:
        """A connection to the project, for whatever is to be sent."""
        from tui.services.supabase.connection import connected

        home = self._session.config.home
        path = self._session.config.supabase_session_path
        async with connected(self._supabase, path) as supabase:
            yield Sending(self._session.store.uploads, supabase, home, self.settings.sending)

    async def _try(self, job_id: str, step: Callable[[StoredJob], Awaitable[None]]) -> None:
        job = await self._session.store.get_job(job_id)
        if not self._is_due(job.host):
            return
        try:
            await step(job)
        except (SupabaseUnreachable, SupabaseUnauthorized):
            raise
        except BrightRunError as error:
            self._put_off(job_id)
            if isinstance(error, AgentError):  # So it is for all jobs of that machine.
                refused_s = _REFUSED_PAUSE_S if isinstance(error, SshRefused) else 0.0
                self._put_off(job.host, refused_s)
            logger.info("uploads of %s: %s", job_id, error)
        else:
            self._failures.pop(job_id, None)
            self._failures.pop(job.host, None)

    def _is_due(self, name: str) -> bool:
        return time.monotonic() >= self._not_before.get(name, 0.0)

    def _put_off(self, name: str, at_least_s: float = 0.0) -> None:
        """A job, or a host."""
        settings, failures = self.settings, self._failures.get(name, 0)
        self._failures[name] = failures + 1
        pause_s = growing_pause_s(settings.first_pause_s, failures, settings.longest_pause_s)
        self._not_before[name] = time.monotonic() + max(pause_s, at_least_s)

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._say(f"uploads wait: {text}")
        self._said = text
