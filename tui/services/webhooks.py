"""Delivers what only this end can tell the web application, and sees that agents tell the rest.

An agent tells of its job while its machine lives. This end tells before there is an agent, after
its machine is gone, and how a rented job has ended. One job's messages go out in order, from one
end at a time; a receiver that hangs holds up its own job only. Polling the job stays possible.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import timedelta

from shared.errors import AgentError, AgentRefused, BrightRunError, ProtocolError
from shared.events import utc_now
from shared.rental import RentalPhase
from shared.store.cursor import BEGINNING
from shared.store.stored import StoredJob
from shared.store.webhooks import StoredMessage, StoredTarget, WebhookEnd
from shared.webhook_sending import GIVE_UP_AFTER_S, TIMEOUT_S, WebhookSender, pause_s
from tui.services.background import Say
from tui.services.session import Session
from tui.services.webhook_targets import (
    default_target,
    hand_over_webhooks,
    last_message,
    webhook_secret,
)

logger = logging.getLogger(__name__)

_MOST_AT_ONCE = 8
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Seconds."""

    poll_s: float = 2.0
    """Between two looks at the store."""
    agent_look_s: float = 15.0
    """Between two questions to an agent whether it still tells."""
    longest_look_s: float = 300.0
    """The same of an agent that does not answer."""
    timeout_s: float = TIMEOUT_S
    give_up_after_s: float = GIVE_UP_AFTER_S


def is_wanted(session: Session) -> bool:
    """Whether anything can be signed.

    Raises:
        InvalidInput: the secret, or the default URL, is none.
    """
    default_target()
    return webhook_secret() is not None


async def run(session: Session, say: Say) -> None:
    """Until cancelled."""
    secret = webhook_secret()
    if secret is not None:
        async with contextlib.aclosing(Webhooks(session, secret, say)) as webhooks:
            await webhooks.run()


class Webhooks:
    """One loop over all jobs that somebody is to be told of, and a task for each with work."""

    def __init__(
        self, session: Session, secret: str, say: Say, settings: WebhookSettings | None = None
    ) -> None:
        self._session = session
        self._store = session.store
        self._say = say
        self._settings = settings or WebhookSettings()
        self._senders = {
            allow_private: WebhookSender(
                secret, allow_private=allow_private, timeout_s=self._settings.timeout_s
            )
            for allow_private in (False, True)
        }
        self._at_once = asyncio.Semaphore(_MOST_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ask_at: dict[str, float] = {}
        """Job -> when its agent may be asked again, on the monotonic clock."""
        self._silent: dict[str, int] = {}
        """Job -> questions in a row that its agent has not answered."""
        self._unknown: set[str] = set()
        """Jobs of which their agents have never heard."""

    async def run(self) -> None:
        """Until cancelled; all that must not be lost is in the store."""
        while True:
            self._reap()
            for stored in await self._store.webhooks.open():
                if stored.job_id not in self._tasks:
                    tending = asyncio.create_task(self._tend(stored))
                    self._tasks[stored.job_id] = tending
            await asyncio.sleep(self._settings.poll_s)

    async def aclose(self) -> None:
        """Let go of what is under way."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for sender in self._senders.values():
            await sender.close()

    def _reap(self) -> None:
        for job_id, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[job_id]
                with contextlib.suppress(
                    BrightRunError
                ):  # Of the store: the next look tries again.
                    task.result()

    async def _tend(self, stored: StoredTarget) -> None:
        async with self._at_once:
            job = await self._store.get_job(stored.job_id)
            if stored.sender is WebhookEnd.AGENT:
                await self._look_at_agent(job)
            else:
                await self._tell(stored, job)

    async def _look_at_agent(self, job: StoredJob) -> None:
        """See that the agent tells; where it cannot any more, tell from here."""
        if job.state.rented and job.status.is_final:
            # Its machine is gone, and could not be asked before.
            await self._store.webhooks.taken_back(job.job_id, ())
        elif self._may_ask(job.job_id):
            await self._ask_agent(job)

    async def _ask_agent(self, job: StoredJob) -> None:
        job_id = job.job_id
        try:
            async with self._session.host_of(job).client() as client:
                state = await client.webhook(job_id)
                if not state.is_set and await self._is_at_agent(job):
                    await hand_over_webhooks(self._session, client, job_id)
        except (AgentError, ProtocolError) as error:
            self._put_off(job_id, error)
            if _is_unknown_there(error) and job.status.is_final:
                await self._store.webhooks.taken_back(job_id, ())
            return
        self._answered(job_id)
        if state.is_complete and not job.state.rented:
            await self._store.webhooks.close(job_id)

    async def _tell(self, stored: StoredTarget, job: StoredJob) -> None:
        """Hand over what an agent can tell better, and deliver what is left."""
        if await self._is_handed_over(job):
            return
        if job.status.is_final and self._is_ours_to_end(job):
            await self._store.webhooks.add(job.job_id, [await last_message(self._session, job)])
        await self._deliver(stored, job)

    async def _is_handed_over(self, job: StoredJob) -> bool:
        """Usually whoever gives the agent the job does it; this is for when that went wrong."""
        if not self._may_ask(job.job_id) or not await self._is_at_agent(job):
            return False
        try:
            async with self._session.host_of(job).client() as client:
                await client.job(job.job_id)
                self._answered(job.job_id)
                return await hand_over_webhooks(self._session, client, job.job_id)
        except (AgentError, ProtocolError) as error:
            self._put_off(job.job_id, error)
            if _is_unknown_there(error):  # Or it is on its way there.
                self._unknown.add(job.job_id)
            return False

    async def _is_at_agent(self, job: StoredJob) -> bool:
        """Whether an agent may have the job now, and is to tell of it."""
        if not job.state.rented:
            has_begun = not job.waits_for_turn and not job.status.is_final
            return has_begun or job.cursor != BEGINNING
        stored = await self._store.rentals.get(job.job_id)
        return stored is not None and stored.rental.phase is RentalPhase.RUNNING

    def _is_ours_to_end(self, job: StoredJob) -> bool:
        """An agent that has begun the job tells how it ended, unless it is gone for good."""
        if job.state.rented or job.cursor == BEGINNING or job.job_id in self._unknown:
            return True
        ended_at = job.state.ended_at or job.updated_at
        return utc_now() - ended_at > timedelta(seconds=self._settings.give_up_after_s)

    async def _deliver(self, stored: StoredTarget, job: StoredJob) -> None:
        messages = await self._store.webhooks.messages(stored.job_id)
        waiting = [each for each in messages if each.outcome == "waiting"]
        for each in waiting:
            if each.next_try_at is not None and each.next_try_at > utc_now():
                return
            if not await self._send(stored, each, waiting):
                return
        if job.status.is_final and any(each.message.id.endswith("_end") for each in messages):
            await self._store.webhooks.close(stored.job_id)

    async def _send(
        self, stored: StoredTarget, each: StoredMessage, waiting: list[StoredMessage]
    ) -> bool:
        """True if the next one may follow."""
        note_try, message = self._store.webhooks.note_try, each.message
        sender = self._senders[stored.target.allow_private]
        delivery = await sender.send(stored.target.url, message.id, message.body)
        if delivery.taken:
            await note_try([message.id], "delivered")
            return True
        if each.tries == 0:
            self._say(f"{stored.job_id}: a webhook is not taken: {delivery.detail}")
        if delivery.is_gone:
            ids = [other.message.id for other in waiting if other.outcome == "waiting"]
            await note_try(ids, "gone", delivery.detail)
            return False
        age = utc_now() - message.created_at
        if age > timedelta(seconds=self._settings.give_up_after_s) and each.tries > 0:
            await note_try([message.id], "given_up", delivery.detail)
            return False
        next_try_at = utc_now() + timedelta(seconds=pause_s(each.tries + 1, delivery.retry_after_s))
        await note_try([message.id], "waiting", delivery.detail, next_try_at)
        return False

    def _may_ask(self, job_id: str) -> bool:
        return time.monotonic() >= self._ask_at.get(job_id, 0.0)

    def _answered(self, job_id: str) -> None:
        self._silent.pop(job_id, None)
        self._unknown.discard(job_id)
        self._ask_at[job_id] = time.monotonic() + self._settings.agent_look_s

    def _put_off(self, job_id: str, error: Exception) -> None:
        silent = self._silent[job_id] = self._silent.get(job_id, 0) + 1
        settings = self._settings
        pause = min(settings.agent_look_s * 2 ** min(silent - 1, 10), settings.longest_look_s)
        self._ask_at[job_id] = time.monotonic() + pause
        logger.info("webhooks of job %s: its agent: %s", job_id, error)


def _is_unknown_there(error: Exception) -> bool:
    return isinstance(error, AgentRefused) and error.status_code == _NOT_FOUND
