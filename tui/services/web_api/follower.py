"""Keeps the store's copy of running jobs fresh while the API is served.

Without a screen nobody follows a job on a machine of the user's own (rented ones have the
controller). A watcher that fails is begun anew after a pause; a watcher never touches its job.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import aclosing

from shared.errors import BrightRunError, StoreError
from shared.store.stored import StoredJob
from tui.services.controller.settings import growing_pause_s
from tui.services.session import Session

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_LONGEST_PAUSE_S = 300.0


class Follower:
    """One watcher for each job that an own host has taken."""

    def __init__(self, session: Session, look_s: float = _LOOK_S) -> None:
        self._session = session
        self._look_s = look_s
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._glances: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                with contextlib.suppress(StoreError):  # The next look may be luckier.
                    await self._look()
                await asyncio.sleep(self._look_s)
        finally:
            await _cancelled([*self._watchers.values(), *self._glances.values()])

    def glance(self, job: StoredJob) -> None:
        """Ask the job's agent now, once, and wait for nothing; one glance a job at a time."""
        if job.job_id not in self._glances:
            task = asyncio.create_task(self._glance(job))
            self._glances[job.job_id] = task
            task.add_done_callback(lambda _: self._glances.pop(job.job_id, None))

    async def _glance(self, job: StoredJob) -> None:
        try:
            await self._session.mirror.catch_up(job)
        except BrightRunError as error:
            logger.info("%s: %s", job.job_id, error)

    async def _look(self) -> None:
        self._watchers = {
            job_id: task for job_id, task in self._watchers.items() if not task.done()
        }
        # Whoever hands a waiting one over writes that down, and there may be a thousand of them.
        for job_id in await self._session.store.queue.taken_by_own_hosts():
            if job_id not in self._watchers:
                self._watchers[job_id] = asyncio.create_task(self._watch(job_id))

    async def _watch(self, job_id: str) -> None:
        failures = 0
        while True:
            try:
                async with aclosing(self._session.mirror.watch(job_id)) as news:
                    async for _ in news:
                        failures = 0
                return
            except BrightRunError as error:
                logger.info("%s: %s", job_id, error)
            except Exception:
                # A defect: the other jobs must be followed all the same.
                logger.exception("%s is not followed for a while", job_id)
            failures += 1
            await asyncio.sleep(growing_pause_s(self._look_s, failures, _LONGEST_PAUSE_S))


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
