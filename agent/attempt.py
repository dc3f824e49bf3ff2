"""Carries one attempt from its directory to its end, however often the agent dies on the way.

Every step first looks at what the files say and does only what is missing, so that `run` can begin
anew after a crash between any two writes. It knows nothing of other jobs, nor of HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import signal
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent import hang, limits
from agent.evidence import gather_evidence, read_limit
from agent.fence import Fence
from agent.gpu_gauges import INTERVAL_S, GpuGauges, GpuTeller
from agent.job import EventKind, Job
from agent.launch import (
    ShimRecord,
    has_ended,
    read_shim,
    settle,
    start_trainer,
    trainer_command,
)
from agent.process import ProcessIdentity, is_alive, send_signal, send_signal_to_group
from agent.run_directory import AgentRoot, AttemptDirectory, AttemptSpec, Nodes
from agent.trainer_events import read_entries
from agent.verdict import EarlierAttempt, Evidence, Verdict, decide, end_of_attempt
from agent.watchdog import Hang, HangLimits, Watchdog
from shared import events
from shared.errors import DatasetChanged, InvalidDataset
from shared.job_spec import DatasetReference
from shared.lifecycle import StopReason
from shared.manifest import write_atomic

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SupervisionSettings:
    """How trainers are started, followed and stopped."""

    trainer_command: Sequence[str] | None = None
    """The attempt's directory is added as the last argument; None is what the root says."""
    cancel_grace_s: float = 10.0
    """From SIGTERM, at which the trainer saves and ends, to SIGKILL."""
    limit_grace_s: float = 120.0
    """The same where a limit is reached. Nobody waits for it, and a step of a 70B model and its
    checkpoint take longer than anybody would wait; the budget's reserve pays for it."""
    poll_s: float = 0.1
    """Network volumes have no inotify; ten looks a second cost nothing measurable."""
    log_limit_bytes: int = 64 * 2**20
    """What an attempt's log may take on the disk; beyond it the log's beginning is dropped."""
    log_check_s: float = 1.0
    hang_limits: HangLimits = field(default_factory=HangLimits)
    stacks_limit_s: float = 5.0
    """How long a trainer that hangs may take to write its stacks before it is killed."""
    gpu_interval_s: float = INTERVAL_S
    """Between two looks at the GPUs; 0 is none."""
    nodes: Nodes | None = None
    """This machine among several that train the same job."""


class Attempt:
    """One attempt of a job. Only its own `run` writes to the attempt's journal."""

    def __init__(
        self,
        root: AgentRoot,
        job: Job,
        number: int,
        settings: SupervisionSettings,
        *,
        fence: Fence,
        meter: limits.Meter,
        gauges: GpuGauges,
    ) -> None:
        self._root = root
        self._fence = fence
        self._meter = meter
        self._gauges = gauges
        self._gpus = GpuTeller(job.state)
        self._limit: Verdict | None = None
        self._job = job
        self._settings = settings
        self._directory: AttemptDirectory = job.directory.attempt(number)
        self._number = number
        self._shim: ShimRecord | None = None
        self._dataset_fault = ""
        self._asked_to_stop_at: float | None = None
        self._watchdog = Watchdog(settings.hang_limits)
        self._is_hung = False
        self._has_asked_for_stacks = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Begin or take up the attempt and follow it to its end, or until `stopping` is set.

        Raises:
            OSError: the disk refuses; what was written holds, and a new run goes on from there.
            MachineReplaced: another machine works on the job now.
        """
        await asyncio.to_thread(self._prepare)
        if self._last(events.AttemptStarted) is None:
            await self._record(
                events.AttemptStarted(
                    journal_id=str(uuid.uuid4()),
                    agent_version=importlib.metadata.version("brightrun"),
                    rental=self._fence.rental,
                )
            )
        await self._ensure_trainer()
        if await self._follow(stopping):
            await self._conclude()

    def kill(self) -> None:
        """End the trainer and its shim at once, with nothing saved and nothing written. Blocks."""
        if self._shim is not None:
            send_signal(self._shim.shim, signal.SIGKILL)
            hang.kill(self._shim.trainer)

    def _prepare(self) -> None:
        self._fence.check()
        self._directory.path.mkdir(parents=True, exist_ok=True)
        if not self._directory.spec_path.exists():
            spec = AttemptSpec(
                job=self._job.spec,
                attempt=self._number,
                dataset_path=dataset_path(self._root, self._job.spec.dataset),
                models_directory=self._models_path().absolute(),
                nodes=self._settings.nodes,
            )
            write_atomic(self._directory.spec_path, spec.model_dump_json(indent=2))
        self._is_hung = self._directory.hang_path.exists()
        self._limit = read_limit(self._directory.limit_path)
        self._job.journal(self._number)

    def _models_path(self) -> Path:
        is_rented = self._fence.mark is not None
        return self._root.volume_models_path if is_rented else self._root.models_path

    async def _ensure_trainer(self) -> None:
        """Start the trainer, or find the one that an earlier agent started."""
        if self._has_lost_machine():
            # Its processes were another machine's, whatever runs here under their numbers.
            return
        earlier = await asyncio.to_thread(read_shim, self._directory)
        self._shim = earlier or await asyncio.to_thread(self._start_unless_refused)
        if self._shim is None:
            return
        if self._last(events.TrainerStarted) is None:
            started = events.TrainerStarted(
                shim_pid=self._shim.shim_pid, trainer_pid=self._shim.trainer_pid
            )
            await self._record(started)
        if earlier is not None and is_alive(earlier.trainer):
            await self._record(events.TrainerAdopted(trainer_pid=self._shim.trainer_pid))
        told = (events.Metrics, events.StageEntered, events.TrainerFinished)
        for event in self._job.last_events(self._number, told):
            self._watchdog.heard(event)

    def _start_unless_refused(self) -> ShimRecord | None:
        if self._directory.exit_path.exists():
            return None
        if not self._is_cancelled():
            self._note_limit()
            try:
                check_dataset(self._root, self._job.spec.dataset)
            except InvalidDataset as error:
                self._dataset_fault = str(error)
        if self._is_cancelled() or self._dataset_fault or self._limit:
            return settle(self._directory, exit_code=None)
        command = self._settings.trainer_command or trainer_command(self._root)
        return start_trainer(self._directory, command)

    async def _follow(self, stopping: asyncio.Event) -> bool:
        """Copy the trainer's events until it has ended; False if `stopping` came first."""
        while not stopping.is_set():
            # Looked at first: what was written before the end is then read after it.
            ended, is_cancelled = await asyncio.to_thread(self._look)
            copied = await self._copy_events(ended)
            if is_cancelled:
                await self._obey_cancel()
            elif not ended and await self._is_over_limit():
                await self._stop(self._settings.limit_grace_s)
            elif not ended:
                await self._watch_for_hang()
                await self._tell_of_gpus()
            if ended and not copied:
                return True
            if not copied:
                await pause(stopping, self._settings.poll_s)
        return False

    async def _tell_of_gpus(self) -> None:
        usage = self._meter.usage
        usd_per_hour = 0.0 if usage is None else usage.limits.usd_per_hour
        for event in self._gpus.events(self._gauges.latest(), self._job.state, usd_per_hour):
            await self._record(event)

    def _look(self) -> tuple[bool, bool]:
        """Whether the trainer has ended, and whether the job is cancelled."""
        return has_ended(self._directory, self._shim), self._is_cancelled()

    async def _copy_events(self, ended: bool) -> bool:
        offset = self._job.journal(self._number).trainer_offset
        entries = await asyncio.to_thread(
            read_entries, self._directory.trainer_events_path, offset, ended=ended
        )
        if entries:
            await self._job.append(self._number, entries)
        for entry in entries:
            self._watchdog.heard(entry.event, entry.time)
        return bool(entries)

    async def _obey_cancel(self) -> None:
        if self._last(events.CancelRequested) is None:
            reason = await asyncio.to_thread(self._cancel_reason)
            await self._record(events.CancelRequested(reason=reason))
        await self._stop(self._settings.cancel_grace_s)

    async def _stop(self, grace_s: float) -> None:
        """Have the trainer save and end; the second time, see that it has within `grace_s`."""
        if self._shim is None:
            return
        if self._asked_to_stop_at is None:
            self._asked_to_stop_at = time.monotonic()
            send_signal_to_group(self._shim.trainer, signal.SIGTERM)
        elif time.monotonic() >= self._asked_to_stop_at + grace_s:
            await asyncio.to_thread(hang.kill, self._shim.trainer)

    async def _is_over_limit(self) -> bool:
        """Whether a limit of the rented machine is reached; warns when the budget nears its end."""
        usage = self._meter.usage
        if usage is None:
            return False
        if warning := limits.warning(usage):
            await asyncio.to_thread(self._meter.mark_warned, limits.share_to_tell(usage))
            await self._record(events.LogLine(level="warning", message=warning))
        if self._limit is None and limits.reached(usage) is not None:
            await asyncio.to_thread(self._note_limit)
            detail = "" if self._limit is None else self._limit.detail
            message = f"{detail} The training saves a checkpoint and stops."
            await self._record(events.LogLine(level="warning", message=message))
        return self._limit is not None

    def _note_limit(self) -> None:
        """Write down which limit is reached, so that the attempt is judged by it come what may."""
        usage = self._meter.usage
        found = None if usage is None else limits.reached(usage)
        if found is not None and self._limit is None:
            told = {"stop_reason": found.stop_reason, "detail": found.detail}
            self._fence.check()
            write_atomic(self._directory.limit_path, json.dumps(told))
            self._limit = found

    async def _watch_for_hang(self) -> None:
        """Once the trainer hangs: say so, keep its stacks, and end it."""
        if self._shim is None:
            return
        if not self._is_hung:
            found = self._watchdog.look(time.monotonic())
            if found is None:
                return
            await self._record_hang(found, self._shim.trainer)
        if not self._has_asked_for_stacks:
            self._has_asked_for_stacks = True
            await asyncio.to_thread(
                hang.write_stacks,
                self._shim.trainer,
                self._directory.log_path,
                self._settings.stacks_limit_s,
            )
        await asyncio.to_thread(hang.kill, self._shim.trainer)

    async def _record_hang(self, found: Hang, trainer: ProcessIdentity) -> None:
        processes = await asyncio.to_thread(hang.describe_processes, trainer)
        detail = f"{found} Its processes: {processes}."
        # First, so that it is ended and judged for this whatever becomes of the agent.
        path = self._directory.hang_path
        await asyncio.to_thread(write_atomic, path, json.dumps({"detail": detail}))
        self._is_hung = True
        message = f"{detail} It is ended; its stacks are in the log."
        await self._record(events.LogLine(level="error", message=message))

    async def _conclude(self) -> None:
        evidence = await asyncio.to_thread(self._gather_evidence)
        verdict = decide(evidence)
        if self._has_lost_machine() and verdict.stop_reason is StopReason.TRAINER_LOST:
            detail = f"Machine {self._rental(self._number)} was lost, and the trainer with it."
            verdict = Verdict(StopReason.TRAINER_LOST, detail)
        ended = end_of_attempt(
            verdict,
            evidence.exit,
            course=[self._earlier(number) for number in range(1, self._number)],
            step=self._last_step(self._number),
            max_restarts=self._job.spec.max_restarts,
            rental=self._rental(self._number),
            has_lost_machine=self._has_lost_machine(),
        )
        await self._record(ended)
        logger.info("job %s, attempt %d: %s", self._job.spec.job_id, self._number, ended)

    def _gather_evidence(self) -> Evidence:
        return gather_evidence(
            self._directory,
            finished=self._last(events.TrainerFinished),
            verified=self._last(events.AdapterVerified),
            is_cancelled=self._is_cancelled(),
            dataset_fault=self._dataset_fault,
        )

    def _earlier(self, number: int) -> EarlierAttempt:
        ended = self._job.last_event(number, events.AttemptEnded)
        reason = StopReason.TRAINER_LOST if ended is None else ended.stop_reason
        return EarlierAttempt(self._last_step(number), reason, self._rental(number))

    def _rental(self, number: int) -> int:
        """Of the machine that the attempt is, or was, on; 0 where that is not known here."""
        started = self._job.last_event(number, events.AttemptStarted)
        return 0 if started is None else started.rental

    def _has_lost_machine(self) -> bool:
        """True if the attempt began on an earlier machine of the job."""
        started = self._last(events.AttemptStarted)
        return started is not None and started.rental < self._fence.rental

    def _last_step(self, number: int) -> int:
        metrics = self._job.last_event(number, events.Metrics)
        return 0 if metrics is None else metrics.step

    def _is_cancelled(self) -> bool:
        return self._job.directory.cancel_path.exists()

    def _cancel_reason(self) -> str:
        return str(json.loads(self._job.directory.cancel_path.read_bytes())["reason"])

    def _last(self, kind: type[EventKind]) -> EventKind | None:
        return self._job.last_event(self._number, kind)

    async def _record(self, event: events.Event) -> None:
        await self._job.record(self._number, event)


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Sleep, but not beyond `stopping`."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


def dataset_path(root: AgentRoot, dataset: DatasetReference) -> Path:
    """Where the host keeps this training file; absolute."""
    return (root.datasets_path / dataset.stored_name).absolute()


def check_dataset(root: AgentRoot, dataset: DatasetReference) -> None:
    """Blocks while it hashes the file.

    Raises:
        InvalidDataset: the training file is not there.
        DatasetChanged: its bytes are not those of the spec.
    """
    path = dataset_path(root, dataset)
    if DatasetReference.of(path).sha256 != dataset.sha256:
        raise DatasetChanged(
            f"{path}: its bytes are not those that were checked ({dataset.file_name}); "
            "upload the file again."
        )
