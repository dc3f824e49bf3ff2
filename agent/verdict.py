"""Why an attempt ended: one pure function from what was found to a stop reason.

It reads no files and starts nothing; whether a new attempt may follow stands in
`shared.lifecycle.STOP_REASONS`.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from agent.launch import ExitRecord
from shared.events import AttemptEnded, TrainerFinished
from shared.lifecycle import STOP_REASONS, JobStatus, StopReason

_STOPPED_EXIT_CODES = {75, 128 + signal.SIGTERM}
"""EX_TEMPFAIL of sysexits.h, and what a shell makes of SIGTERM: saved, and stopped as asked."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is left of an attempt once its trainer is gone."""

    finished: TrainerFinished | None
    """The trainer's own last word; None if it had none."""
    exit: ExitRecord | None
    """None if the shim died before it could write one."""
    is_dry_run: bool
    is_cancelled: bool
    dataset_fault: str = ""
    """Why the training file was refused; empty if it was not."""
    verified: bool = False
    """True if the trainer proved that the adapter loads and generates."""
    adapter_fault: str = ""
    """What is wrong with the adapter's files; empty if they are those that were proved."""
    log_tail: str = ""


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
    if evidence.dataset_fault:
        return Verdict(StopReason.DATASET_CHANGED, evidence.dataset_fault)
    if evidence.finished is not None and _was_stopped(evidence.finished):
        # Nobody cancelled the job: a signal from elsewhere is an interruption.
        return Verdict(StopReason.TRAINER_KILLED, evidence.finished.detail)
    return _by_exit(evidence)


def end_of_attempt(
    verdict: Verdict, exit_record: ExitRecord | None, attempt: int, max_restarts: int
) -> AttemptEnded:
    """The journal's last event: ended for good, or with another attempt to follow."""
    is_interruption = STOP_REASONS[verdict.stop_reason].retry
    stop_reason, detail = verdict.stop_reason, verdict.detail
    if is_interruption and attempt > max_restarts:
        detail = f"Interrupted {attempt} times, the last time: {stop_reason}. {detail}".rstrip()
        stop_reason = StopReason.RESTARTS_EXHAUSTED
    return AttemptEnded(
        stop_reason=stop_reason,
        detail=detail,
        exit_code=None if exit_record is None else exit_record.exit_code,
        signal=None if exit_record is None else exit_record.signal,
        will_retry=STOP_REASONS[stop_reason].retry,
    )


def _reported(evidence: Evidence, finished: TrainerFinished) -> Verdict | None:
    """What the trainer says itself, where that settles it."""
    row = STOP_REASONS[finished.stop_reason]
    if row.status is JobStatus.COMPLETED:
        ended_well = evidence.exit is None or evidence.exit.exit_code == 0
        return _success(evidence, finished) if ended_well else None
    if _was_stopped(finished):
        return None
    return Verdict(finished.stop_reason, finished.detail)


def _was_stopped(finished: TrainerFinished) -> bool:
    """True if the trainer saved and ended because it was told to, by whomever."""
    reason = finished.stop_reason
    return reason is StopReason.CANCELLED or STOP_REASONS[reason].retry


def _success(evidence: Evidence, finished: TrainerFinished) -> Verdict:
    """A success counts only with its proof."""
    if finished.stop_reason is StopReason.DRY_RUN_PASSED and evidence.is_dry_run:
        return Verdict(StopReason.DRY_RUN_PASSED, finished.detail)
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
        return Verdict(StopReason.TRAINER_LOST, "Nothing runs, and nobody saw the trainer end.")
    if ending.signal is not None:
        return _by_signal(ending.signal, ending.oom_kills)
    if ending.exit_code in _STOPPED_EXIT_CODES:
        return Verdict(StopReason.TRAINER_KILLED, f"Stopped with exit code {ending.exit_code}.")
    without = " without an adapter" if ending.exit_code == 0 else ""
    sentence = f"The trainer ended with exit code {ending.exit_code}{without}."
    return Verdict(StopReason.TRAINER_CRASHED, f"{sentence}\n{evidence.log_tail}".rstrip())


def _by_signal(number: int, oom_kills: int | None) -> Verdict:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL and oom_kills:
        return Verdict(
            StopReason.HOST_OUT_OF_MEMORY, "The kernel killed the trainer for want of memory."
        )
    return Verdict(StopReason.TRAINER_KILLED, f"The trainer was killed by {name}.")
