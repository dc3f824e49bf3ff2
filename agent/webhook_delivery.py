"""Delivers the webhooks of one job: one task reads its journal, another sends, in order.

What is sent comes from the outbox alone, so that being killed anywhere loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from agent.job import Job
from agent.webhook_outbox import Outbox
from shared.errors import MachineReplaced
from shared.events import decode_journal_records, utc_now
from shared.webhook import Teller
from shared.webhook_protocol import WebhookSetting
from shared.webhook_sending import GIVE_UP_AFTER_S, Delivery, WebhookSender, pause_s

logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

_LINES = 500
_DISK_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """How deliveries are tried."""

    timeout_s: float = 30.0
    pause_s: Callable[[int, float | None], float] = pause_s
    """After so many failures in a row, and what the receiver asked for."""
    give_up_after_s: float = GIVE_UP_AFTER_S
    most_waiting: int = 200


class JobWebhooks:
    """From `start` to `stop`, or until another machine has taken over."""

    def __init__(
        self,
        job: Job,
        setting: WebhookSetting,
        outbox: Outbox,
        settings: DeliverySettings,
        threads: tuple[ThreadPoolExecutor, ThreadPoolExecutor],
    ) -> None:
        self.setting = setting.model_copy(update={"first": ()})
        self.outbox = outbox
        self._job = job
        self._settings = settings
        self._files, self._names = threads
        self._news = asyncio.Event()
        self._heard_all = asyncio.Event()
        self._is_complete = False
        self._error = ""
        self._failing_since: datetime | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, on_complete: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks = [
            asyncio.create_task(self._keep(self._listen)),
            asyncio.create_task(self._keep(lambda: self._deliver(on_complete))),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def trouble(self) -> dict[str, Any]:
        return {
            "is_complete": self._is_complete,
            "error": self._error,
            "failing_since": self._failing_since,
        }

    def look_again(self) -> None:
        self._news.set()

    async def hear_the_rest(self, patience_s: float) -> None:
        """Where the job has ended, what it said last is already written down."""
        if self._job.state.status.is_final:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard_all.wait(), patience_s)

    async def _keep(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        job_id = self._job.spec.job_id
        while True:
            try:
                return await work()
            except MachineReplaced:
                return
            except OSError as error:  # The disk is full, most likely.
                logger.warning("webhooks of job %s: %s", job_id, error)
                await asyncio.sleep(_DISK_RETRY_S)
            except Exception:
                logger.exception("webhooks of job %s are no longer sent", job_id)
                raise

    async def _listen(self) -> None:
        teller = Teller(
            self.setting.web_job_id,
            self.setting.target.interval_steps,
            tells_end=self.setting.tells_end,
            status=self.setting.status_before,
        )
        told_to = _last_place(self.outbox)
        async for lines in self._job.follow((0, 0), _LINES):
            if await self._in_thread(partial(self._hear, teller, lines, told_to)):
                self._news.set()
        self._heard_all.set()
        self._news.set()

    def _hear(self, teller: Teller, lines: list[bytes], told_to: tuple[int, int]) -> bool:
        """Write down what these lines of the journal make; blocks."""
        records = decode_journal_records(b"\n".join(lines))
        made = [(record, teller.hear(record)) for record in records]
        # With another interval than before, the past is not told once more in another rhythm.
        new = [m for record, m in made if m and (record.attempt, record.seq) > told_to]
        is_new = self.outbox.add(new)
        self.outbox.drop_superseded(self._settings.most_waiting)
        return is_new

    async def _deliver(self, on_complete: Callable[[], Coroutine[Any, Any, None]]) -> None:
        failures = 0
        target = self.setting.target
        async with WebhookSender(
            self.setting.secret.get_secret_value(),
            allow_private=target.allow_private,
            timeout_s=self._settings.timeout_s,
            executor=self._names,
        ) as sender:
            while True:
                self._news.clear()
                message = self.outbox.next
                if message is not None:
                    delivery = await sender.send(target.url, message.id, message.body)
                    failures = 0 if delivery.taken else failures + 1
                    await self._after(delivery, message.id, message.created_at, failures)
                elif self._heard_all.is_set() and not self._is_complete:
                    self._is_complete = True
                    await on_complete()
                else:
                    await self._news.wait()

    async def _after(
        self, delivery: Delivery, message_id: str, created_at: datetime, failures: int
    ) -> None:
        self._error = delivery.detail
        if delivery.taken:
            self._failing_since = None
            await self._in_thread(lambda: self.outbox.settle([message_id], "delivered"))
            return
        if failures == 1:
            self._failing_since = utc_now()
            logger.warning(
                "webhooks of job %s are not taken: %s", self._job.spec.job_id, delivery.detail
            )
        self.outbox.failed(message_id)
        if delivery.is_gone:
            waiting = [message.id for message in self.outbox.waiting]
            await self._in_thread(lambda: self.outbox.settle(waiting, "gone"))
            return
        if utc_now() - created_at > timedelta(seconds=self._settings.give_up_after_s):
            await self._in_thread(lambda: self.outbox.settle([message_id], "given_up"))
        await asyncio.sleep(self._settings.pause_s(failures, delivery.retry_after_s))

    async def _in_thread(self, doing: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._files, doing)


def _last_place(outbox: Outbox) -> tuple[int, int]:
    """(attempt, seq) of the last record that became a message; (0, 0) before the first."""
    for traced in reversed(outbox.traced):
        place = traced.message.id.split("_", 2)[-1]
        attempt, _, seq = place.partition("_")
        if attempt.isdecimal() and seq.isdecimal():
            return int(attempt), int(seq)
    return 0, 0
