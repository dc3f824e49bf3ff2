"""Tells the web application how jobs go: from their journals, through an outbox, to one receiver.

It is one more watcher of each job. Nothing here is waited for by a trainer, a journal or a request:
names are looked up and files written in threads of its own, and a receiver that hangs holds up the
messages of its own job only. A job's messages go out one after the other, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from agent.job import Job
from agent.supervisor import Supervisor
from agent.webhook_delivery import DeliverySettings, JobWebhooks
from agent.webhook_outbox import Outbox
from agent.webhook_secrets import WebhookSecrets
from shared.webhook_protocol import TracedMessage, WebhookSetting, WebhookState

ResultT = TypeVar("ResultT")

_LAST_RECORDS_S = 5.0


class Webhooks:
    """Of all jobs of one root. Use `recover` first, `close` last and before the supervisor's."""

    def __init__(
        self,
        supervisor: Supervisor,
        directory: Path | None = None,
        settings: DeliverySettings | None = None,
    ) -> None:
        """`directory` is where secrets may lie; None: only in this process."""
        self._supervisor = supervisor
        self._secrets = WebhookSecrets(directory)
        self._settings = settings or DeliverySettings()
        self._jobs: dict[str, JobWebhooks] = {}
        self._changing = asyncio.Lock()
        # Not the loop's own threads: a name server that hangs must not hold up a journal. Files
        # have one of their own, by which nobody else writes to an outbox at the same time.
        self._files = ThreadPoolExecutor(1, "webhook-files")
        self._names = ThreadPoolExecutor(2, "webhook-names")

    async def recover(self) -> None:
        """Go on with every job whose setting is still there."""
        for job_id, job in self._supervisor.jobs.items():
            setting = await self._in_thread(partial(self._secrets.read, job_id))
            if setting is not None:
                await self._begin(job, setting)

    async def put(self, job_id: str, setting: WebhookSetting) -> WebhookState:
        """Take over a job's webhooks, or take them over differently.

        Raises:
            UnknownJob: no job has this id.
        """
        job = self._supervisor.job(job_id)
        async with self._changing:
            await self._put(job_id, job, setting)
        return await self.state(job_id)

    async def state(self, job_id: str) -> WebhookState:
        """Raises UnknownJob."""
        self._supervisor.job(job_id)
        known = self._jobs.get(job_id)
        outbox = await self._outbox(job_id)
        counts = WebhookState(
            is_set=known is not None,
            waiting=len(outbox.waiting),
            delivered=outbox.count("delivered"),
            given_up=outbox.count("given_up", "gone", "superseded"),
        )
        return counts if known is None else counts.model_copy(update=known.trouble())

    async def messages(self, job_id: str) -> Sequence[TracedMessage]:
        """All that the job has said or will say, in order.

        Raises:
            UnknownJob: no job has this id.
        """
        self._supervisor.job(job_id)
        return (await self._outbox(job_id)).traced

    async def release(self, job_id: str) -> Sequence[TracedMessage]:
        """Deliver nothing more of this job, and say what is left: somebody else does it now.

        Asked again it says the same. What is on its way this moment may arrive all the same; it has
        the same id from whoever sends it.

        Raises:
            UnknownJob: no job has this id.
        """
        self._supervisor.job(job_id)
        async with self._changing:
            known = self._jobs.get(job_id)
            if known is not None:
                await known.hear_the_rest(_LAST_RECORDS_S)
            await self._end(job_id)
            await self._in_thread(lambda: self._secrets.forget(job_id))
            outbox = await self._outbox(job_id)
        return [each for each in outbox.traced if each.outcome == "waiting"]

    async def close(self) -> None:
        """Stop; what was not delivered stays in the outboxes."""
        for job_id in list(self._jobs):
            await self._end(job_id)
        await self._in_thread(self._secrets.tidy)
        for threads in (self._files, self._names):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _put(self, job_id: str, job: Job, setting: WebhookSetting) -> None:
        known = self._jobs.get(job_id)
        if known is None or known.setting != setting.model_copy(update={"first": ()}):
            await self._end(job_id)
            kept = setting.model_copy(update={"first": ()})
            await self._in_thread(lambda: self._secrets.keep(job_id, kept))
            await self._begin(job, setting)
        elif setting.first:
            await self._in_thread(lambda: known.outbox.add(setting.first))
            known.look_again()

    async def _begin(self, job: Job, setting: WebhookSetting) -> None:
        job_id = job.spec.job_id
        outbox = await self._outbox(job_id)
        if setting.first:
            await self._in_thread(lambda: outbox.add(setting.first))
        begun = JobWebhooks(job, setting, outbox, self._settings, (self._files, self._names))
        self._jobs[job_id] = begun
        begun.start(on_complete=lambda: self._in_thread(lambda: self._secrets.forget(job_id)))

    async def _end(self, job_id: str) -> None:
        known = self._jobs.pop(job_id, None)
        if known is not None:
            await known.stop()

    async def _outbox(self, job_id: str) -> Outbox:
        """The one that is at work, or as it lies on the disk."""
        known = self._jobs.get(job_id)
        if known is not None:
            return known.outbox
        path = self._supervisor.job(job_id).directory.webhooks_path
        return await self._in_thread(lambda: Outbox(path, self._supervisor.fence.check))

    async def _in_thread(self, doing: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._files, doing)
