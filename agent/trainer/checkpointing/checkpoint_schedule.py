"""When to take a snapshot, when to have it written, when to evaluate, when to stop.

Without an interval in the job, as often as its cost to the training stays under 2 %: every step
where possible. Knows nothing of files, nor of what is in a snapshot.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from agent.trainer.checkpointing.checkpoint_disk import CheckpointDisk
from agent.trainer.checkpointing.checkpoint_writer import CheckpointWriter
from agent.trainer.checkpointing.snapshot import SnapshotTaker
from agent.trainer.parallel.replicas import Replicas
from agent.trainer.stop_signals import StopSignals
from shared.dataset.step_plan import Step
from shared.job_spec import JobSpec

COST_SHARE = 0.02
"""Of the training time, for all checkpoints together."""

KEPT_SHARE = 0.01
"""Of the training time, for snapshots that stay in memory; the rest is for those written down."""


@dataclass
class CostBudget:
    """What checkpoints have cost the training so far, against the time that it has taken."""

    spent_s: float = 0.0
    elapsed_s: float = 0.0
    last_stall_s: float = 0.0
    last_contention_s: float = 0.0

    def allows(self, cost_s: float, share: float) -> bool:
        """True if one more at this cost keeps within the share."""
        return self.spent_s + cost_s <= share * self.elapsed_s

    def spend_stall(self, seconds: float) -> None:
        """The training thread has waited for a snapshot."""
        self.last_stall_s = seconds
        self.spent_s += seconds

    def spend_contention(self, seconds: float) -> None:
        """The writer has computed on a core that the training could have used."""
        self.last_contention_s = seconds
        self.spent_s += seconds


def cores_are_spare() -> bool:
    """True if the writer finds a core on which no tensor is computed."""
    return torch.cuda.is_available() or len(os.sched_getaffinity(0)) > torch.get_num_threads()


@dataclass
class CheckpointSchedule(TrainerCallback):
    """Decides after each step; takes and hands over the snapshots that it has decided on."""

    job: JobSpec
    steps: list[Step]
    has_held_out: bool
    signals: StopSignals
    replicas: Replicas
    writer: CheckpointWriter
    disk: CheckpointDisk
    taker: SnapshotTaker
    budget: CostBudget = field(default_factory=CostBudget)
    _step_began: float = 0.0
    _cpu_s_before: float = 0.0
    _is_due: bool = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.signals.end_with(self.save_in_time)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._step_began = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.budget.elapsed_s += time.monotonic() - self._step_began
        # A signal reaches the replicas at different moments; they stop behind the same step.
        is_terminated = self.replicas.any(self.signals.terminated)
        self.signals.terminated |= is_terminated
        is_last = state.global_step == len(self.steps)
        control.should_training_stop = is_last or is_terminated
        if self.job.dry_run:
            return
        ends_epoch = self.steps[state.global_step - 1].epoch_end.is_integer()
        # Over no conversations at all, a loss of 0 would come out.
        control.should_evaluate = self.has_held_out and ends_epoch
        self._is_due = is_last or is_terminated or self._must_write(state.global_step)
        control.should_save = self._is_due or self._can_keep()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # Upstream looks at the flags again here; the last step has already done both.
        control.should_evaluate = control.should_save = False

    def save(self, control: TrainerControl, step: int, **live: Any) -> None:
        """Take the snapshot of `step` from the live objects; the disk is not waited for.

        Raises:
            CheckpointWriterDied: checkpoints cannot be written any more.
        """
        # A stop that the evaluation has decided on came after the step's own decision.
        is_due = self._is_due or control.should_training_stop
        snapshot = self.taker.take(step, **live)
        # An interval that the job names is a promise; else the newest is as good as any.
        keeps_promise = self.job.checkpoint_interval_steps is not None and is_due
        self.writer.submit(snapshot, is_due=is_due, replaces_due=not keeps_promise)
        self.budget.spend_stall(snapshot.stall_s)
        self._measure_contention()
        if is_due:
            self.signals.wants_checkpoint = False

    def save_in_time(self, timeout_s: float) -> str:
        """In another thread: have the newest snapshot written, and say what stands."""
        if not self.replicas.is_first:
            time.sleep(timeout_s)  # The first replica saves; nobody may be missed before.
        is_flushed = self.writer.flush(timeout_s)
        return self.what_stands() + ("" if is_flushed else "; a newer one was not saved in time")

    def what_stands(self) -> str:
        """How a run ends that was told to, in a sentence."""
        step = self.disk.last_step
        if self.job.dry_run:
            return "SIGTERM; a dry run leaves nothing"
        return "SIGTERM; " + ("nothing is saved yet" if step is None else f"step {step} is saved")

    def _must_write(self, step: int) -> bool:
        if self.signals.wants_checkpoint:
            return True
        if self.job.checkpoint_interval_steps is not None:
            return step % self.job.checkpoint_interval_steps == 0
        cost_s = self.budget.last_stall_s + self.budget.last_contention_s
        return self.budget.allows(cost_s, COST_SHARE)

    def _can_keep(self) -> bool:
        return self.budget.allows(self.budget.last_stall_s, KEPT_SHARE)

    def _measure_contention(self) -> None:
        """What the writer has computed since the last look, where that was at our expense."""
        cpu_s = self.writer.cpu_s
        if cpu_s > self._cpu_s_before and not cores_are_spare():
            self.budget.spend_contention(cpu_s - self._cpu_s_before)
        self._cpu_s_before = cpu_s
