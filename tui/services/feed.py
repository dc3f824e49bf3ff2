"""Keeps every job of the store fresh, and tells one listener what changes.

Jobs that are not final are watched through their agent; jobs that other processes add, change or
end are found by a cheap look into the store. It only reads: nothing here can stop a trainer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime

from shared.errors import AgentRefused, BrightRunError, StoreError
from shared.events import JournalRecord, utc_now
from shared.store.stored import StoredJob
from tui.services.mirror import Unreachable
from tui.services.session import Session

_POLL_S = 2.0
_LONGEST_PAUSE_S = 30.0
_HANDOVER_S = 10.0
"""A job this young may be on its way to the agent, which does not know it yet."""


@dataclass(frozen=True, slots=True)
class JobNews:
    """A job as of now; `records` are those that came in since the last news of it."""

    job: StoredJob
    records: tuple[JournalRecord, ...] = ()
    unreachable: Unreachable | None = None
    """Since when its agent does not answer, and why; the job's figures are those of then."""


Listener = Callable[[JobNews], None]


class JobFeed:
    """The one place of a console that follows jobs."""

    def __init__(
        self,
        session: Session,
        listener: Listener,
        *,
        on_trouble: Callable[[str], None] = lambda text: None,
        poll_s: float = _POLL_S,
    ) -> None:
        """`on_trouble` hears why the store cannot be read, and "" once it can again."""
        self._session = session
        self._tell = listener
        self._on_trouble = on_trouble
        self._poll_s = poll_s
        self._versions: dict[str, datetime] = {}
        self._followers: dict[str, asyncio.Task[None]] = {}
        self._look = asyncio.Event()

    def look_now(self) -> None:
        """Do not wait for the next look into the store: this process has just changed it."""
        self._look.set()

    async def run(self, on_first_look: Callable[[], None] = lambda: None) -> None:
        """Follow until cancelled; a store that cannot be read is tried again."""
        is_first, is_troubled = True, False
        async with asyncio.TaskGroup() as group:
            while True:
                self._look.clear()
                try:
                    await self._look_into_store(group)
                except StoreError as error:
                    is_troubled = True
                    self._on_trouble(str(error))
                else:
                    if is_troubled:
                        self._on_trouble("")
                    if is_first:
                        on_first_look()
                    is_first = is_troubled = False
                await self._pause()

    async def _pause(self) -> None:
        # Not `wait_for`: in Python 3.11 it may swallow a cancellation.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s):
                await self._look.wait()

    async def _look_into_store(self, group: asyncio.TaskGroup) -> None:
        versions = await self._session.store.job_versions()
        changed = [job_id for job_id, at in versions.items() if self._versions.get(job_id) != at]
        if not self._versions:
            jobs = await self._session.store.list_jobs()
        else:
            jobs = [await self._session.store.get_job(job_id) for job_id in changed]
        self._versions = versions
        for job in jobs:
            follower = self._followers.get(job.job_id)
            is_followed = follower is not None and not follower.done()
            if not is_followed:
                self._tell(JobNews(job))
            if not is_followed and not job.status.is_final:
                self._followers[job.job_id] = group.create_task(self._follow(job))

    async def _follow(self, job: StoredJob) -> None:
        """Tell every step of one job to its end, whatever is in the way."""
        failures = 0
        since: datetime | None = None
        while not job.status.is_final:
            try:
                async with aclosing(self._session.mirror.watch(job.job_id, job.cursor)) as sights:
                    async for sight in sights:
                        if isinstance(sight, Unreachable):
                            self._tell(JobNews(job, unreachable=sight))
                            continue
                        job, failures, since = sight.job, 0, None
                        self._tell(JobNews(job, sight.records))
                return
            except BrightRunError as error:
                failures += 1
                since = since or utc_now()
                if not self._is_on_its_way(job, error):
                    reason = _never_arrived(job) if _is_unknown(error) else str(error)
                    self._tell(JobNews(job, unreachable=Unreachable(since, reason)))
            await asyncio.sleep(min(self._poll_s * 2 ** (failures - 1), _LONGEST_PAUSE_S))
            job = await self._known(job)
            if job.status.is_final:
                self._tell(JobNews(job))

    async def _known(self, job: StoredJob) -> StoredJob:
        """The job as the store has it by now, if the store can be read."""
        try:
            return await self._session.store.get_job(job.job_id)
        except StoreError:
            return job

    @staticmethod
    def _is_on_its_way(job: StoredJob, error: BrightRunError) -> bool:
        is_young = (utc_now() - job.created_at).total_seconds() < _HANDOVER_S
        return _is_unknown(error) and is_young


def _is_unknown(error: BrightRunError) -> bool:
    return isinstance(error, AgentRefused) and error.status_code == 404


def _never_arrived(job: StoredJob) -> str:
    return f"{job.host} does not know this job, which never arrived: cancel it, then retry."
