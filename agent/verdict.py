"""Why an attempt ended: one pure function from what was found to a stop reason.

It reads no files and starts nothing; whether a new attempt may follow stands in
`shared.lifecycle.STOP_REASONS`.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from agent.hardware_fault import hardware_fault
from agent.kernel_messages import failed_gpu, out_of_memory_victims
from agent.launch import ExitRecord
from shared.events import AttemptEnded, TrainerFinished
from shared.lifecycle import STOP_REASONS, JobStatus, StopReason

_STOPPED_EXIT_CODES = {75, 128 + signal.SIGTERM, 128 + signal.SIGKILL}
"""EX_TEMPFAIL of sysexits.h: saved, and stopped as asked; and what a shell makes of signals."""

_SIGNALS_OF_A_CRASH = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGTRAP,
    signal.SIGSYS,
}
"""Nobody sends these: the process itself failed."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is left of an attempt once its trainer is gone."""

    finished: TrainerFinished | None
    """The trainer's own last word; None if it had none."""
    exit: ExitRecord | None
    """None if the shim died before it could write one."""
    is_dry_run: bool
    is_cancelled: bool
    has_replicas: bool = False
    """True if the trainer is the parent of several processes that train."""
    is_further_node: bool = False
    """True if another machine of the same job keeps the adapter."""
    dataset_fault: str = ""
    """Why the training file was refused; empty if it was not."""
    verified: bool = False
    """True if the trainer proved that the adapter loads and generates."""
    adapter_fault: str = ""
    """What is wrong with the adapter's files; empty if they are those that were proved."""
    hang: str = ""
    """How the trainer was found to hang, whereupon it was killed; empty if it was not."""
    limit: Verdict | None = None
    """Which limit of its rented machine was reached, whereupon it was stopped."""
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class EarlierAttempt:
    """How far an attempt before this one came, and why it ended."""

    step: int
    stop_reason: StopReason
    rental: int = 0
    """Number of its machine among the job's; 0 on a machine that is not rented."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A stop reason and a sentence about it."""

    stop_reason: StopReason
    detail: str = ""


def decide(evidence: Evidence) -> Verdict:
    """The first rule that applies."""
    if evidence.finished is not None:
        reported = _reported(evidence, evidence.finished)
        if reported is not None:
            return reported
    if evidence.is_cancelled:
        return Verdict(StopReason.CANCELLED, "Cancelled as asked.")
    if evidence.limit is not None:
        return evidence.limit
    if evidence.dataset_fault:
        return Verdict(StopReason.DATASET_CHANGED, evidence.dataset_fault)
    finished = evidence.finished
    if finished is not None and _was_stopped(finished) and not _lost_a_replica(evidence):
        # Nobody cancelled the job: a signal from elsewhere is an interruption.
        reason = finished.stop_reason
        was_cancelled = reason is StopReason.CANCELLED
        return Verdict(StopReason.TRAINER_KILLED if was_cancelled else reason, finished.detail)
    return _by_exit(evidence)


def end_of_attempt(
    verdict: Verdict,
    exit_record: ExitRecord | None,
    course: Sequence[EarlierAttempt],
    step: int,
    max_restarts: int,
    *,
    rental: int = 0,
    has_lost_machine: bool = False,
) -> AttemptEnded:
    """The journal's last event: ended for good, or with another attempt to follow.

    `course` holds the attempts before this one, `step` is this one's last step; 0 is none. Only
    attempts of one machine, the one numbered `rental`, count against `max_restarts`, and with the
    machine lost none does: whether there is another machine is not decided here.
    """
    row = STOP_REASONS[verdict.stop_reason]
    stop_reason, detail, will_retry = verdict.stop_reason, verdict.detail, row.retry
    attempts = sum(attempt.rental == rental for attempt in course) + 1
    if row.idle_retries is not None and _is_idle(course, step):
        vain = _vain_restarts(verdict.stop_reason, course)
        will_retry = vain < row.idle_retries
        if vain:
            detail = f"Started again without coming any further. {detail}"
    if rental and stop_reason is StopReason.HARDWARE_FAULT:
        # Another machine is no repetition; how many may be lost is decided by who rents them.
        will_retry = True
    elif will_retry and attempts > max_restarts and not has_lost_machine:
        will_retry = False
        # Where the attempts ended by themselves, how they did is the cause.
        if row.idle_retries is None:
            stop_reason = StopReason.RESTARTS_EXHAUSTED
        detail = f"Interrupted {attempts} times, the last time: {verdict.stop_reason}. {detail}"
    return AttemptEnded(
        stop_reason=stop_reason,
        detail=detail.rstrip(),
        exit_code=None if exit_record is None else exit_record.exit_code,
        signal=None if exit_record is None else exit_record.signal,
        will_retry=will_retry,
    )


def _is_idle(course: Sequence[EarlierAttempt], step: int) -> bool:
    """True if the attempt took no step that none before it had taken."""
    return step <= max((attempt.step for attempt in course), default=0)


def _vain_restarts(reason: StopReason, course: Sequence[EarlierAttempt]) -> int:
    """How often in a row a restart for this reason has come no further, this one included."""
    count = 0
    for number in range(len(course), 0, -1):
        if course[number - 1].stop_reason is not reason:
            break
        count += 1
        if not _is_idle(course[: number - 1], course[number - 1].step):
            break
    return count


def _reported(evidence: Evidence, finished: TrainerFinished) -> Verdict | None:
    """What the trainer says itself, where that settles it."""
    row = STOP_REASONS[finished.stop_reason]
    if row.status is JobStatus.COMPLETED:
        # One that did all its work and then hangs at its exit has been killed by us.
        ended_well = evidence.exit is None or evidence.exit.exit_code == 0 or bool(evidence.hang)
        return _success(evidence, finished) if ended_well else None
    if _was_stopped(finished):
        return None
    return Verdict(finished.stop_reason, finished.detail)


def _was_stopped(finished: TrainerFinished) -> bool:
    """True if the trainer saved and ended because it was told to, by whomever."""
    row = STOP_REASONS[finished.stop_reason]
    is_interruption = row.retry and row.idle_retries is None
    return finished.stop_reason is StopReason.CANCELLED or is_interruption


def _lost_a_replica(evidence: Evidence) -> bool:
    """True where one replica was killed: the others are then told to stop, and may say so, while
    their parent ends by the same signal as the lost one."""
    ended_by_signal = evidence.exit is not None and evidence.exit.signal is not None
    return evidence.has_replicas and ended_by_signal


def _success(evidence: Evidence, finished: TrainerFinished) -> Verdict:
    """A success counts only with its proof."""
    if finished.stop_reason is StopReason.DRY_RUN_PASSED and evidence.is_dry_run:
        return Verdict(StopReason.DRY_RUN_PASSED, finished.detail)
    if finished.stop_reason is StopReason.REPLICAS_FINISHED and evidence.is_further_node:
        return Verdict(StopReason.REPLICAS_FINISHED, finished.detail)
    if not evidence.verified:
        return Verdict(
            StopReason.TRAINER_CRASHED,
            f"The trainer said {finished.stop_reason}, but no adapter was verified.",
        )
    if evidence.adapter_fault:
        return Verdict(StopReason.ADAPTER_REJECTED, evidence.adapter_fault)
    return Verdict(StopReason.COMPLETED, finished.detail)


def _by_exit(evidence: Evidence) -> Verdict:
    ending = evidence.exit
    if ending is None or (ending.exit_code is None and ending.signal is None):
        if evidence.hang:
            return Verdict(StopReason.TRAINER_HUNG, evidence.hang)
        return Verdict(StopReason.TRAINER_LOST, "Nothing runs, and nobody saw the trainer end.")
    how, is_crash = _describe(ending)
    # What failed before the end comes first: it is why a trainer crashed, or hung.
    if is_crash or evidence.hang:
        fault = failed_gpu(ending.kernel_messages or ()) or hardware_fault(evidence.log_tail)
        if fault:
            return Verdict(StopReason.HARDWARE_FAULT, f"{how} {fault}")
    if evidence.hang and ending.signal is not None:
        return Verdict(StopReason.TRAINER_HUNG, evidence.hang)
    if _was_killed_for_memory(ending, has_replicas=evidence.has_replicas):
        return Verdict(
            StopReason.HOST_OUT_OF_MEMORY,
            f"{how} The kernel killed it, or a process of it, for want of memory.",
        )
    if not is_crash:
        return Verdict(StopReason.TRAINER_KILLED, how)
    return Verdict(StopReason.TRAINER_CRASHED, f"{how}\n{evidence.log_tail}".rstrip())


def _describe(ending: ExitRecord) -> tuple[str, bool]:
    """How the trainer ended, in words, and whether that was its own doing."""
    if ending.signal is None:
        is_crash = ending.exit_code not in _STOPPED_EXIT_CODES
        without = " without an adapter" if ending.exit_code == 0 else ""
        return f"The trainer ended with exit code {ending.exit_code}{without}.", is_crash
    try:
        name = signal.Signals(ending.signal).name
    except ValueError:
        name = f"signal {ending.signal}"
    if ending.signal in _SIGNALS_OF_A_CRASH:
        return f"The trainer crashed with {name}.", True
    return f"The trainer was killed by {name}.", False


def _was_killed_for_memory(ending: ExitRecord, *, has_replicas: bool) -> bool:
    """True if the trainer, or a process without which it could not go on, was the kernel's victim.

    The kernel's messages name who was killed; the counter of the cgroup only says that somebody
    was, which may have been another process. Replicas are not known by their pids, and where one
    is killed their parent ends in the same way.
    """
    if ending.exit_code == 0 or ending.signal not in (None, signal.SIGKILL):
        return False
    if ending.kernel_messages is not None and ending.kernel_pid is not None:
        victims = out_of_memory_victims(ending.kernel_messages)
        if ending.kernel_pid in victims:
            return True
        if not victims or (ending.signal is not None and not has_replicas):
            return False
        return ending.oom_kills != 0
    return bool(ending.oom_kills)
