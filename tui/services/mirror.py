"""Copies what the agent reports into the store, and hands the new records to whoever watches.

A watcher only reads: nothing here can stop or slow a trainer. While the agent is away, the last
figures stay as they are.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from shared.errors import AgentError, AgentRefused, AgentUnreachable, ProtocolError
from shared.events import utc_now
from shared.store.cursor import Cursor
from shared.store.store import Store
from shared.store.stored import Applied, StoredJob
from tui.services.agent_client import AgentClient
from tui.services.hosts.host import Host, revive
from tui.services.job_end import settle_end

_WATCH_PATIENCE_S = 3.0
"""How long a lost connection is tried again in silence before the watcher is told."""
_REVIVE_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
"""A pause between two looks doubles up to this, and is shortened by chance."""
_CATCH_UP_TIMEOUT_S = 5.0
_STORE_POLL_S = 0.5
"""Between two looks for what a controller has written: one read of one row."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The agent does not answer; its trainer may well be running."""

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Sight:
    """A job, and whether what is known of it is fresh."""

    job: StoredJob
    unreachable: str | None = None
    """Why the agent could not be asked; None if it was."""
    is_unknown: bool = False
    """True where the agent answers, and has never heard of the job."""


class Mirror:
    """The store's copy of the jobs, wherever they run."""

    def __init__(self, store: Store, host_named: Callable[[str], Host]) -> None:
        self._store = store
        self._host_named = host_named
        self._reviving: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Watchers of several jobs on one host start one agent, not one each."""

    async def watch(
        self, job_id: str, seen: Cursor | None = None
    ) -> AsyncGenerator[Applied | Unreachable]:
        """Follow the job to its end, over any number of lost connections and agents.

        `seen` is how far the watcher knows the job; None: as far as the store does. The watcher
        gets every record after that, even those which another process stores before this one.

        Yields each batch of records once it is in the store, and `Unreachable` whenever the agent
        stays away; it is then started again, in case it died, since its job waits for it. A batch
        without records says that the agent answers again.

        Raises:
            AgentRefused: the agent does not know the job.
            ProtocolError: what the agent sends does not hold together.
        """
        job = await self._store.get_job(job_id)
        seen = job.cursor if seen is None else seen
        if job.state.rented:
            async with aclosing(self._watch_store(job, seen)) as batches:
                async for applied in batches:
                    yield applied
            return
        async with aclosing(self._watch_queue(job)) as looks:
            async for job in looks:
                yield Applied(job, ())
        host = self._host_named(job.host)
        since: datetime | None = None
        pause_s = _REVIVE_PAUSE_S
        while not job.status.is_final or seen < job.cursor:
            try:
                async with aclosing(self._follow(host, job_id, seen)) as batches:
                    async for applied in batches:
                        job, since = applied.job, None
                        seen = Cursor(applied.records[-1].attempt, applied.records[-1].seq)
                        yield applied
                if not job.status.is_final:
                    raise ProtocolError(f"{job_id}: the agent's report ends before the job does.")
            except AgentUnreachable as error:
                since = since or utc_now()
                yield Unreachable(since, str(error))
                async with self._reviving[host.name]:
                    answers = await revive(host)
                if answers:
                    since, pause_s = None, _REVIVE_PAUSE_S
                    yield Applied(job, ())
                else:
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                    pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _watch_queue(self, job: StoredJob) -> AsyncGenerator[StoredJob]:
        """Each change of a job that waits for its turn, up to when its host has it, or its end."""
        while job.waits_for_turn and not job.status.is_final:
            known = job
            await asyncio.sleep(_STORE_POLL_S)
            job = await self._store.get_job(job.job_id)
            if job.updated_at != known.updated_at:
                yield job

    async def _watch_store(
        self, job: StoredJob, seen: Cursor
    ) -> AsyncGenerator[Applied | Unreachable]:
        """A rented job is followed by its controller, wherever that runs; this looks on."""
        told: str | None = ""
        while True:
            job = await self._store.get_job(job.job_id)
            records = await self._store.events_after(job.job_id, seen, job.cursor)
            if records:
                seen = Cursor(records[-1].attempt, records[-1].seq)
                yield Applied(job, tuple(records))
            elif job.status.is_final:
                return
            stored = await self._store.rentals.get(job.job_id)
            silent_since = None if stored is None else stored.rental.silent_since
            look = f"{job.updated_at} {silent_since}"
            if look != told:
                told = look
                if stored is not None and silent_since is not None:
                    yield Unreachable(silent_since, stored.rental.reason)
                else:
                    yield Applied(job, ())
            await asyncio.sleep(_STORE_POLL_S)

    async def _follow(self, host: Host, job_id: str, after: Cursor) -> AsyncGenerator[Applied]:
        """Store the agent's records from a cursor on, until the agent has sent its last."""
        async with (
            _spoken_with(host) as client,
            aclosing(client.events(job_id, after, patience_s=_WATCH_PATIENCE_S)) as batches,
        ):
            async for records in batches:
                applied = await self._store.apply_records(job_id, records)
                if applied.records and applied.job.status.is_final:
                    await settle_end(self._store, job_id)
                yield Applied(applied.job, tuple(records))

    async def catch_up(self, job: StoredJob) -> Sight:
        """Pull what is there by now, without waiting for more; never starts or awaits an agent."""
        if job.status.is_final:
            return Sight(job)
        if job.state.rented:
            return await self._sight_of_rented(job)
        if job.waits_for_turn:
            return Sight(await self._store.get_job(job.job_id))
        is_unknown = False
        try:
            async with asyncio.timeout(_CATCH_UP_TIMEOUT_S):
                return Sight(await self._pull(job))
        except TimeoutError:
            reason = f"the agent took more than {_CATCH_UP_TIMEOUT_S:.0f} s"
        except AgentRefused as error:
            reason = f"the agent does not know it ({error})"
            is_unknown = error.status_code == 404
        except (AgentError, ProtocolError) as error:
            reason = str(error)
        job = await self._store.get_job(job.job_id)
        return Sight(job, unreachable=reason, is_unknown=is_unknown)

    async def _sight_of_rented(self, job: StoredJob) -> Sight:
        stored = await self._store.rentals.get(job.job_id)
        silent = stored is not None and stored.rental.silent_since is not None
        reason = stored.rental.reason if stored is not None and silent else None
        return Sight(await self._store.get_job(job.job_id), unreachable=reason)

    async def _pull(self, job: StoredJob) -> StoredJob:
        async with _spoken_with(self._host_named(job.host)) as client:
            goal = (await client.job(job.job_id)).state.cursor
            if job.cursor >= goal:
                return job
            async with aclosing(client.events(job.job_id, job.cursor, patience_s=0)) as batches:
                async for records in batches:
                    job = (await self._store.apply_records(job.job_id, records)).job
                    if job.cursor >= goal:
                        break
        if job.status.is_final:
            await settle_end(self._store, job.job_id)
        return job


@asynccontextmanager
async def _spoken_with(host: Host) -> AsyncIterator[AgentClient]:
    """A client for an agent that speaks our version: records of another may mean something else."""
    async with host.client() as client:
        await client.health()
        yield client
