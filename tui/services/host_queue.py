"""Hands waiting jobs over to the user's own hosts, each when its turn comes.

Runs in the console, in `brightrun serve` and beside a command that waits for its jobs; any number
of them at once do no harm, since a turn is a claim in the store and a host takes the same job twice
without doing it twice. Rented jobs have the controller, and are none of its business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from shared.clean_text import clean_line
from shared.errors import AgentRefused, BrightRunError, SshRefused, StoreError
from shared.events import utc_now
from shared.lifecycle import JobStatus
from shared.store.cursor import BEGINNING
from shared.store.stored import StoredJob
from shared.turns import TurnLimits, at_work, has_turn
from tui.services import jobs
from tui.services.controller.settings import growing_pause_s
from tui.services.hosts.host import revive
from tui.services.session import Session

logger = logging.getLogger(__name__)

_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class HostQueueSettings:
    """Seconds."""

    poll_s: float = 2.0
    claim_s: float = 30.0
    """Without a sign of whoever gave a job its turn, before that is taken over."""
    longest_pause_s: float = 300.0
    """Between two tries with a host that does not take jobs."""
    on_its_way_s: float = 900.0
    """A job this young may be on its way to an agent that does not know it: installing what
    trains takes minutes. An older one keeps nobody waiting."""


class HostQueue:
    """One loop; what it has claimed is in the store, everything else can be lost."""

    def __init__(
        self,
        session: Session,
        *,
        settings: HostQueueSettings | None = None,
        on_news: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._session = session
        self._store = session.store
        self._settings = settings or HostQueueSettings()
        self._tell = on_news
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """Jobs that are being handed over, and hosts (by name) that are being called."""
        self._failures: dict[str, int] = {}
        self._ask_at: dict[str, float] = {}
        """Host -> when it may be asked again, on the monotonic clock."""
        self.trouble = ""
        """Why the store cannot be read; "" while it can."""

    async def run(self) -> None:
        """Until cancelled; what is under way then is gone on with by the next loop."""
        try:
            while True:
                try:
                    await self._look()
                    self.trouble = ""
                except StoreError as error:
                    if str(error) != self.trouble:
                        self._tell(str(error))
                    self.trouble = str(error)
                except Exception:
                    # A defect: jobs must not wait for ever because of it.
                    logger.exception("the queue of own hosts stopped; it goes on")
                await asyncio.sleep(self._settings.poll_s)
        finally:
            await _cancelled(list(self._tasks.values()))

    async def _look(self) -> None:
        """Give turns, as far as there are jobs that wait and places for them."""
        self._tasks = {name: task for name, task in self._tasks.items() if not task.done()}
        open_jobs = await self._store.queue.open_on_own_hosts()
        if not any(job.waits_for_turn for job in open_jobs):
            return
        not_there = await self._catch_up(open_jobs)
        claimed = await self._store.queue.claim(
            await turn_limits(self._session),
            utc_now() - timedelta(seconds=self._settings.claim_s),
            away={host for host, ask_at in self._ask_at.items() if ask_at > time.monotonic()},
            not_there=not_there,
        )
        for job in claimed:
            if job.job_id not in self._tasks:
                self._tasks[job.job_id] = asyncio.create_task(self._give_turn(job))

    async def _catch_up(self, open_jobs: Sequence[StoredJob]) -> set[str]:
        """Learn how far the jobs at work are; returns those that their hosts do not know.

        Nobody else may follow them: without a console, this is what notices that a place is free.
        """
        busy = [job for job in at_work(open_jobs) if not has_turn(job)]
        sights = await asyncio.gather(*(self._session.mirror.catch_up(job) for job in busy))
        for sight in sights:
            if sight.unreachable is not None and not sight.is_unknown:
                self._call(sight.job)
        youngest = utc_now() - timedelta(seconds=self._settings.on_its_way_s)
        return {s.job.job_id for s in sights if s.is_unknown and s.job.created_at < youngest}

    def _call(self, job: StoredJob) -> None:
        """Have the host's agent started again, should it be gone: its jobs go on by that."""
        if job.host not in self._tasks and time.monotonic() >= self._ask_at.get(job.host, 0.0):
            self._tasks[job.host] = asyncio.create_task(self._revive(job))

    async def _revive(self, job: StoredJob) -> None:
        if await revive(self._session.host_of(job)):
            self._failures.pop(job.host, None)
        else:
            self._put_off(job.host)

    async def _give_turn(self, job: StoredJob) -> None:
        """Hand one job over; what keeps its host from taking it is written down."""
        step = _LatestStep()
        holding = asyncio.create_task(self._hold(job.job_id, step))
        try:
            path = await jobs.find_training_file(self._session, job.spec)
            host = self._session.host_of(job)
            await jobs.hand_over(self._session, host, path, job.spec, step.tell)
            await self._store.queue.handed_over(job.job_id)
            self._failures.pop(job.host, None)
            self._tell(f"{job.job_id}: its turn has come, {job.host} has it")
            await self._call_back_if_cancelled(job)
        except StoreError as error:
            self._tell(f"{job.job_id}: {error}")
        except BrightRunError as error:
            await _cancelled([holding])
            await self._not_taken(job, error)
        except Exception:
            logger.exception("job %s could not be handed over", job.job_id)
        finally:
            await _cancelled([holding])

    async def _hold(self, job_id: str, step: _LatestStep) -> None:
        """Let nobody take the turn over meanwhile, and show what is being done."""
        with contextlib.suppress(StoreError):  # Then the claim grows old, which does no harm.
            while await self._store.queue.hold(job_id, step.words):
                await asyncio.sleep(self._settings.claim_s / 5)

    async def _not_taken(self, job: StoredJob, error: BrightRunError) -> None:
        reason = clean_line(str(error))[:_LONGEST_REASON]
        self._tell(f"{job.job_id}: {reason}")
        # Where trying again would not help, the job has failed by now, and this changes nothing.
        await self._store.queue.release(job.job_id, reason)
        if not (await self._store.get_job(job.job_id)).status.is_final:
            self._put_off(job.host, at_once=isinstance(error, SshRefused))

    def _put_off(self, host: str, *, at_once: bool = False) -> None:
        """Ask the host later, each time later than before; `at_once` as late as possible.

        What SSH refuses is not asked for often: some servers lock out who does.
        """
        failures = self._failures[host] = self._failures.get(host, 0) + 1
        longest_s = self._settings.longest_pause_s
        pause_s = longest_s if at_once else growing_pause_s(2.0, failures, longest_s)
        self._ask_at[host] = time.monotonic() + pause_s

    async def _call_back_if_cancelled(self, job: StoredJob) -> None:
        """Who cancelled it while its host did not know it yet has been told that it was."""
        known = await self._store.get_job(job.job_id)
        if known.status is not JobStatus.CANCELLED or known.cursor != BEGINNING:
            return
        with contextlib.suppress(AgentRefused):
            async with self._session.host_of(job).client() as client:
                await client.cancel(job.job_id, "cancelled while it was handed over")


class _LatestStep:
    """What is being done about a host, in its own words."""

    def __init__(self) -> None:
        self.words = ""

    def tell(self, step: str) -> None:
        self.words = clean_line(step)[:_LONGEST_REASON]


async def turn_limits(session: Session) -> TurnLimits:
    """As the store has them."""
    settings = session.store.settings
    return TurnLimits(await settings.own_host_jobs(), await settings.concurrent_jobs())


@asynccontextmanager
async def giving_turns(
    session: Session,
    *,
    settings: HostQueueSettings | None = None,
    on_news: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[HostQueue]:
    """While inside, this process hands waiting jobs over."""
    queue = HostQueue(session, settings=settings, on_news=on_news)
    running = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        await _cancelled([running])


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
