"""Copies what the agent of a rented machine reports into the store, for as long as it is asked to.

It decides nothing: it knows when the agent was last heard, and why it is not heard now.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress

from shared.errors import AgentError, AgentRefused, BrightRunError, ProtocolError
from tui.services.controller.settings import ControllerSettings
from tui.services.session import Session

_LONGEST_PAUSE_S = 15.0
_SOCKET_PATIENCE_S = 3.0


class Follower:
    """Of one job; it starts where the store's cursor stands, on whichever machine serves now."""

    def __init__(self, session: Session, job_id: str, settings: ControllerSettings) -> None:
        self._session = session
        self._job_id = job_id
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._heard_at = time.monotonic()
        self.trouble = ""
        """Why the agent is not heard; "" while it is."""
        self.is_unknown = False
        """True if an agent answers that has never heard of the job."""
        self.is_complete = False
        """True once the agent has sent the job's last record."""

    @property
    def silent_s(self) -> float:
        """Since the agent was last heard; 0 while it is connected."""
        return time.monotonic() - self._heard_at if self.trouble else 0.0

    def start(self) -> None:
        """Follow in the background; it goes on until `stop`."""
        if self._task is None:
            self._heard_at = time.monotonic()
            self.trouble, self.is_unknown, self.is_complete = "", False, False
            self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Let go; what was received is in the store."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _follow(self) -> None:
        pause_s = 0.2
        while not self.is_complete:
            try:
                await self._connected()
                pause_s = 0.2
            except (AgentError, ProtocolError) as error:
                self.is_unknown = isinstance(error, AgentRefused) and error.status_code == 404
                self._miss(error)
            except BrightRunError as error:  # The store, most likely: the agent is not silent.
                self.trouble, self._heard_at = str(error), time.monotonic()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _connected(self) -> None:
        store = self._session.store
        job = await store.get_job(self._job_id)
        async with self._session.hosts.rented(self._job_id).client() as client:
            await client.health()
            self._hear()
            events = client.events(self._job_id, job.cursor, patience_s=_SOCKET_PATIENCE_S)
            pinging = asyncio.create_task(self._ping())
            try:
                async with aclosing(events) as batches:
                    async for records in batches:
                        await store.apply_records(self._job_id, records)
                        self._hear()
            finally:
                pinging.cancel()
        self.is_complete = True

    async def _ping(self) -> None:
        """A quiet stream is no silent agent, and an agent that is asked keeps its machine."""
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            with suppress(AgentError, ProtocolError):
                async with self._session.hosts.rented(self._job_id).client() as client:
                    await client.health()
                    self._hear()

    def _hear(self) -> None:
        self.trouble, self.is_unknown, self._heard_at = "", False, time.monotonic()

    def _miss(self, error: AgentError | ProtocolError) -> None:
        if not self.trouble:
            self._heard_at = time.monotonic()
        self.trouble = str(error)
