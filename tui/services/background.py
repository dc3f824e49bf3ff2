"""What goes out into the world beside the jobs: the mirror, uploads, webhooks, messages to people.

Runs in the console and in `brightrun serve`, in one of them at a time: who holds the lease sends.
Nothing here may slow or stop a job; a worker that fails is started again after a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType

from shared.errors import BrightRunError
from shared.store.rentals import OUTWARD_LEASE
from tui.services.controller.leadership import Leadership
from tui.services.controller.settings import growing_pause_s
from tui.services.session import Session

logger = logging.getLogger(__name__)

Say = Callable[[str], None]

WORKERS: tuple[str, ...] = (
    "tui.services.supabase.mirror_worker",
    "tui.services.artifact_uploads.worker",
    "tui.services.notify.worker",
    "tui.services.webhooks",
)
"""Modules with two functions: `is_wanted(session) -> bool`, which asks nobody and imports little,
and `async run(session, say)`, which works until it is cancelled and can be killed anywhere."""


@dataclass(frozen=True, slots=True)
class BackgroundSettings:
    """Seconds."""

    lease_s: float = 30.0
    tick_s: float = 2.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 300.0


class Background:
    """One process's share; without a wanted worker it takes no lease and does nothing."""

    def __init__(
        self,
        session: Session,
        kind: str,
        *,
        say: Say = lambda text: None,
        settings: BackgroundSettings | None = None,
        workers: Sequence[ModuleType] | None = None,
    ) -> None:
        self._session = session
        self._say = say
        self._settings = settings or BackgroundSettings()
        self._workers = workers
        self._leads = False
        self._leadership = Leadership(
            session.store.rentals, kind, self._settings.lease_s, OUTWARD_LEASE
        )

    async def run(self) -> None:
        """Until cancelled."""
        workers = self._workers
        if workers is None:
            workers = [await asyncio.to_thread(importlib.import_module, name) for name in WORKERS]
        wanted = [worker for worker in workers if self._is_wanted(worker)]
        if not wanted:
            return
        try:
            while True:
                if await self._leadership.renew():
                    await self._lead(wanted)
                await asyncio.sleep(self._settings.tick_s)
        finally:
            await self._leadership.give_up()

    def _is_wanted(self, worker: ModuleType) -> bool:
        try:
            return bool(worker.is_wanted(self._session))
        except BrightRunError as error:  # Settings that do not hold together: said once.
            self._say(str(error))
            return False

    async def _lead(self, workers: Sequence[ModuleType]) -> None:
        """All workers, for as long as the lease holds."""
        self._leads = True
        tasks = [asyncio.create_task(self._keep_running(worker)) for worker in workers]
        try:
            while await self._leadership.renew():
                await asyncio.sleep(min(self._settings.tick_s, self._settings.lease_s / 6))
        finally:
            self._leads = False
            await _ended(tasks)

    async def _keep_running(self, worker: ModuleType) -> None:
        failures = 0
        while self._leads:
            began_s = time.monotonic()
            try:
                await worker.run(self._session, self._say)
                return
            except BrightRunError as error:
                logger.warning("%s: %s", worker.__name__, error)
            except Exception:
                # A defect in one of them must not keep the others from working.
                logger.exception("%s", worker.__name__)
            settings = self._settings
            if time.monotonic() - began_s > settings.longest_pause_s:
                failures = 0
            pause_s = growing_pause_s(settings.first_pause_s, failures, settings.longest_pause_s)
            failures += 1
            await asyncio.sleep(pause_s)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End all of them, also one whose work answers its cancellation with an error of its own."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=1.0)


@asynccontextmanager
async def in_background(
    session: Session, kind: str, say: Say = lambda text: None
) -> AsyncIterator[Background]:
    """While inside, this process sends what is to be sent, unless another does."""
    background = Background(session, kind, say=say)
    running = asyncio.create_task(background.run())
    try:
        yield background
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
