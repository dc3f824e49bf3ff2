"""Owns every job under one root: starts them, takes them up again after a restart, cancels them.

One task drives each job that is not final. It knows nothing of HTTP; the server and the headless
command both stand on it. The caller holds the root's lock: there is one supervisor for a root.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Iterable
from pathlib import Path

from agent.attempt import Attempt, SupervisionSettings, check_dataset, pause
from agent.fence import Fence
from agent.gpu_gauges import GpuGauges
from agent.job import Job
from agent.launch import read_shim
from agent.limits import Meter
from agent.log_limit import limit_log
from agent.process import send_signal
from agent.run_directory import AgentRoot
from shared.agent_protocol import MachineLimits
from shared.errors import (
    JobConflict,
    MachineReplaced,
    NoTrainerRunning,
    ProtocolError,
    UnknownJob,
)
from shared.events import AttemptEnded, AttemptStarted, CancelRequested, utc_now
from shared.job_spec import JobSpec
from shared.lifecycle import JobStatus, StopReason
from shared.manifest import write_atomic

logger = logging.getLogger(__name__)

_DISK_RETRY_S = 5.0
_CANCEL_SEEN_S = 2.0
_FENCE_LOOK_S = 1.0
_START_LOOK_S = 0.2
_LAST_WORDS_S = 5.0
_AGENT_LOG_LIMIT_BYTES = 8 * 2**20
"""A disk that stays full makes the agent say so every few seconds, for as long as it does."""


class Supervisor:
    """The jobs of one root. Use `recover` first, `close` last; trainers live on after both."""

    def __init__(
        self,
        root: AgentRoot,
        settings: SupervisionSettings | None = None,
        fence: Fence | None = None,
    ) -> None:
        self.root = root
        self.fence = fence or Fence(root.path, None)
        self.meters: dict[str, Meter] = {}
        """What each job in `jobs` has used of its machine's limits."""
        self.replaced = asyncio.Event()
        """Set once another machine has taken over and our trainers are dead."""
        self._attempts: dict[str, Attempt] = {}
        """The one that is worked on, by job."""
        self._fencing: asyncio.Task[None] | None = None
        self.jobs: dict[str, Job] = {}
        """Every readable job of the root by its id, oldest id first as of the start."""
        self._settings = settings or SupervisionSettings()
        self._gauges = GpuGauges(self._settings.gpu_interval_s)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()
        self._limiting: asyncio.Task[None] | None = None
        self._unlimited: set[Path] = set()
        """Logs that cannot be cut, which was said once."""

    async def recover(self) -> None:
        """Read every job back, and go on with those that are not final."""
        # First, since logs that grew while no agent lived may leave no room for anything else.
        latest = [attempts[-1] for job in self.root.jobs() if (attempts := job.attempts())]
        await asyncio.to_thread(self._limit, [attempt.log_path for attempt in latest])
        self._limiting = asyncio.create_task(self._limit_logs())
        if self.fence.mark is not None:
            self._fencing = asyncio.create_task(self._watch_fence())
        for directory in self.root.jobs():
            try:
                job = await asyncio.to_thread(Job.open, directory, self.fence)
                meter = await asyncio.to_thread(Meter, directory.limits_path)
            except (ProtocolError, ValueError):
                # One unreadable job must not keep the others from being looked after.
                logger.exception("job %s cannot be read; it is left as it is", directory.job_id)
                continue
            self._take_on(job, meter)

    async def start(
        self, spec: JobSpec, first_attempt: int = 1, limits: MachineLimits | None = None
    ) -> bool:
        """Start the job; False if it had been started before, which changes its limits only.

        A job that an earlier machine has begun goes on once the limits of this one are known.
        `first_attempt` counts where the job is new here: earlier attempts were lost with a disk.

        Raises:
            JobConflict: the id belongs to another spec.
            InvalidDataset: the training file is not there, or is not the one of the spec.
        """
        async with self._starting:
            directory = self.root.job(spec.job_id)
            known = self.jobs.get(spec.job_id)
            if known is not None:
                _require_same(known.spec, spec)
                if limits is not None:
                    await asyncio.to_thread(self.meters[spec.job_id].receive, limits)
                return False
            await asyncio.to_thread(self._write_job, spec, first_attempt)
            meter = await asyncio.to_thread(Meter, directory.limits_path)
            if limits is not None:
                await asyncio.to_thread(meter.receive, limits)
            self._take_on(await asyncio.to_thread(Job.open, directory, self.fence), meter)
            return True

    def job(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        try:
            return self.jobs[job_id]
        except KeyError:
            raise UnknownJob(f"There is no job {job_id!r} under {self.root.path}.") from None

    async def cancel(self, job_id: str, reason: str) -> bool:
        """Ask the job to stop; False if it has stopped already.

        Returns once the request is in the journal, while the trainer may still be saving.

        Raises:
            UnknownJob: no job has this id.
            MachineReplaced: it is another machine's by now.
        """
        job = self.job(job_id)
        if job.state.status.is_final:
            return False
        if not job.directory.cancel_path.exists():
            await asyncio.to_thread(self.fence.check)
            request = {"reason": reason, "requested_at": utc_now().isoformat()}
            path = job.directory.cancel_path
            await asyncio.to_thread(write_atomic, path, json.dumps(request))
        await _until_cancelling(job)
        return True

    def request_checkpoint(self, job_id: str) -> None:
        """Have the trainer save at the end of its step.

        Raises:
            UnknownJob: no job has this id.
            NoTrainerRunning: nothing is training that could be saved.
        """
        job = self.job(job_id)
        if job.state.status is JobStatus.TRAINING:
            shim = read_shim(job.directory.attempt(job.state.attempt))
            if shim is not None and send_signal(shim.trainer, signal.SIGUSR1):
                return
        raise NoTrainerRunning(f"Job {job_id} is {job.state.status}: there is no step to save.")

    async def close(self) -> None:
        """Stop following; trainers go on, and the next supervisor takes them up."""
        self._stopping.set()
        beside = [task for task in (self._limiting, self._fencing) if task is not None]
        await asyncio.gather(*beside, *self._tasks.values(), return_exceptions=True)
        await self._gauges.close()
        for job in self.jobs.values():
            job.close()

    def _write_job(self, spec: JobSpec, first_attempt: int) -> None:
        self.fence.check()
        check_dataset(self.root, spec.dataset)
        directory = self.root.job(spec.job_id)
        if directory.spec_path.exists():
            _require_same(directory.read_spec(), spec)
            return
        # There before the job is: the attempt to be worked on is the latest that is there.
        directory.attempt(first_attempt).path.mkdir(parents=True, exist_ok=True)
        write_atomic(directory.spec_path, spec.model_dump_json(indent=2))

    def _take_on(self, job: Job, meter: Meter) -> None:
        self.jobs[job.spec.job_id] = job
        self.meters[job.spec.job_id] = meter
        if not job.state.status.is_final:
            self._tasks[job.spec.job_id] = asyncio.create_task(self._drive(job))

    async def _limit_logs(self) -> None:
        """Watch the logs that grow, beside whatever else happens to their jobs.

        How much of their limits is used up is written down beside it.
        """
        while not self._stopping.is_set():
            for meter in list(self.meters.values()):
                with contextlib.suppress(OSError, MachineReplaced):
                    await asyncio.to_thread(self._save_at_times, meter)
            running = [job for job in self.jobs.values() if not job.state.status.is_final]
            logs = [job.directory.attempt(job.state.attempt).log_path for job in running]
            await asyncio.to_thread(self._limit, logs)
            await pause(self._stopping, self._settings.log_check_s)

    def _save_at_times(self, meter: Meter) -> None:
        self.fence.check()
        meter.save_at_times()

    async def _watch_fence(self) -> None:
        """Once another machine has taken over: end our trainers as they stand, and stop."""
        while not self._stopping.is_set():
            try:
                await asyncio.to_thread(self.fence.check)
            except MachineReplaced as error:
                logger.error("%s", error)
                self._stopping.set()
                await self._kill_trainers()
                self.replaced.set()
                return
            await pause(self._stopping, _FENCE_LOOK_S)

    async def _kill_trainers(self) -> None:
        """Twice: one that is being started now is known only once its task has ended."""
        for attempt in self._attempts.values():
            await asyncio.to_thread(attempt.kill)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_LAST_WORDS_S)
        for attempt in self._attempts.values():
            await asyncio.to_thread(attempt.kill)

    def _limit(self, trainer_logs: Iterable[Path]) -> None:
        limits = dict.fromkeys(trainer_logs, self._settings.log_limit_bytes)
        for path, limit_bytes in {**limits, self.root.log_path: _AGENT_LOG_LIMIT_BYTES}.items():
            try:
                limit_log(path, limit_bytes)
            except OSError as error:
                if path not in self._unlimited:
                    self._unlimited.add(path)
                    logger.warning("%s: cannot be kept small: %s", path, error)

    async def _drive(self, job: Job) -> None:
        """The outermost loop of one job: attempt after attempt, until the job is final."""
        while not job.state.status.is_final and not self._stopping.is_set():
            try:
                number = await asyncio.to_thread(job.current_attempt)
                if self._must_wait(job, number):
                    await pause(self._stopping, _START_LOOK_S)
                    continue
                attempt = self._attempt(job, number)
                await attempt.run(self._stopping)
                # What was written since the last look stays as it is now.
                await asyncio.to_thread(self._limit, [job.directory.attempt(number).log_path])
            except MachineReplaced:
                return
            except OSError:
                logger.exception("job %s: trying again in %s s", job.spec.job_id, _DISK_RETRY_S)
                await pause(self._stopping, _DISK_RETRY_S)
            except Exception:
                logger.exception("job %s is no longer followed; restart the agent", job.spec.job_id)
                raise

    def _attempt(self, job: Job, number: int) -> Attempt:
        meter = self.meters[job.spec.job_id]
        made = Attempt(
            self.root,
            job,
            number,
            self._settings,
            fence=self.fence,
            meter=meter,
            gauges=self._gauges,
        )
        self._attempts[job.spec.job_id] = made
        return made

    def is_waiting(self, job: Job) -> bool:
        """True if the job would go on here, but nobody has said yet what this machine may cost."""
        rental = self.meters[job.spec.job_id].rental
        return 0 < rental < self.fence.rental and not job.state.status.is_final

    def needs_another_machine(self, job: Job) -> bool:
        """True if the job would go on, and the hardware of this rented machine has failed it."""
        attempt = job.state.attempt
        ended = job.last_event(attempt, AttemptEnded)
        started = job.last_event(attempt, AttemptStarted)
        if ended is None or started is None or job.state.status.is_final:
            return False
        is_fault = ended.stop_reason is StopReason.HARDWARE_FAULT
        return is_fault and 0 < self.fence.rental == started.rental

    def _must_wait(self, job: Job, number: int) -> bool:
        """True before an attempt that nobody has asked this machine for, or that is not for it.

        What an earlier machine has begun is brought to its end, and who cancels need not wait.
        """
        if not (self.is_waiting(job) or self.needs_another_machine(job)):
            return False
        if job.directory.cancel_path.exists():
            return False
        return job.last_event(number, AttemptStarted) is None


def _require_same(known: JobSpec, asked: JobSpec) -> None:
    if not known.same_work_as(asked):
        raise JobConflict(
            f"Job {known.job_id} exists with another spec; give the new job another id."
        )


async def _until_cancelling(job: Job) -> None:
    async def seen() -> None:
        while not job.state.status.is_final:
            if job.last_event(job.state.attempt, CancelRequested) is not None:
                return
            await job.changed.wait()

    try:
        await asyncio.wait_for(seen(), _CANCEL_SEEN_S)
    except TimeoutError:
        logger.warning("job %s: cancel.json is written, not yet acted upon", job.spec.job_id)
