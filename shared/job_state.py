"""A job's state as a pure fold over its journal records.

Records come ordered by (attempt, seq). The same records give the same state, in the console, in the
agent and in a test; nothing here reads a clock, a file or a socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from shared import events
from shared.lifecycle import (
    BETWEEN_MACHINES,
    FETCHING_MODEL,
    STOP_REASONS,
    Activity,
    JobStatus,
    StopReason,
    status_after,
)

IDLE_BELOW_PERCENT = 5
"""A GPU that trains is at 80 % and more; one that waits is at 0, with a few for the display."""


class JobState(BaseModel):
    """What is known of a job after some record; frozen."""

    model_config = ConfigDict(frozen=True)

    status: JobStatus = JobStatus.QUEUED
    activity: Activity | None = None
    detail: str = ""
    attempt: int = 0
    seq: int = 0
    step: int = 0
    total_steps: int | None = None
    epoch: float = 0.0
    loss: float | None = None
    first_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_s: float | None = None
    model_progress: events.ModelProgress | None = None
    """How far the base model is on its way; None before and after."""
    step_s: float | None = None
    """Exponential average over the steps of this attempt."""
    eval_loss: float | None = None
    base_eval_loss: float | None = None
    """Held-out loss before the first step: the base model's."""
    last_checkpoint_step: int | None = None
    checkpoint_path: str | None = None
    adapter_path: str | None = None
    adapter_manifest_sha256: str | None = None
    adapter_verified: bool = False
    stop_reason: StopReason | None = None
    rented: bool = False
    """True where the controller ends the job, once its machine is gone, and not the agent."""
    outcome: StopReason | None = None
    """Of a rented job: how its last attempt ended, while its machine is not gone yet."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    last_event_at: datetime | None = None
    gpus: tuple[events.GpuReading, ...] = ()
    """As last sampled in this attempt; empty where there is none."""
    gpus_at: datetime | None = None
    gpu_idle_since: datetime | None = None
    """Since when no GPU has had anything to do, though the job trains; None otherwise."""

    @property
    def cursor(self) -> tuple[int, int]:
        """(attempt, seq) of the last record in this state."""
        return (self.attempt, self.seq)

    @property
    def advice(self) -> str:
        """What to do about the stop reason; empty while there is none."""
        return "" if self.stop_reason is None else STOP_REASONS[self.stop_reason].advice

    def eta_s(self) -> float | None:
        """Seconds of training left at the observed speed; None before it is known."""
        if self.total_steps is None or self.step_s is None or self.status.is_final:
            return None
        if self.activity in BETWEEN_MACHINES:
            return None
        return max(self.total_steps - self.step, 0) * self.step_s


def are_idle(gpus: Sequence[events.GpuReading]) -> bool:
    """True if each of them is known to do next to nothing."""
    loads = [gpu.utilisation_percent for gpu in gpus]
    return bool(loads) and all(load is not None and load < IDLE_BELOW_PERCENT for load in loads)


def fold(records: Iterable[events.JournalRecord], state: JobState | None = None) -> JobState:
    """The state after `records`, beginning from `state` (a fresh job by default).

    A record at or before the cursor changes nothing.
    """
    folded = (state or JobState()).model_copy()
    for record in records:
        if (record.attempt, record.seq) > (folded.attempt, folded.seq):
            # Nobody else has this copy yet. A new value for each record would take thrice as long.
            folded.__dict__.update(
                _changes(folded, record),
                attempt=record.attempt,
                seq=record.seq,
                started_at=folded.started_at or record.time,
                last_event_at=record.time,
            )
    return folded


def apply(state: JobState, record: events.JournalRecord) -> JobState:
    """The state after one more record."""
    return fold([record], state)


def _changes(state: JobState, record: events.JournalRecord) -> dict[str, object]:
    """The fields that this record's event changes."""
    match record.event:
        case events.Metrics() as event:
            return _after_metrics(state, event)
        case events.AttemptStarted() as event:
            return {
                "activity": Activity.STARTING_TRAINER
                if record.attempt == 1
                else Activity.RECOVERING,
                "detail": event.detail,
                "step_s": None,
                "tokens_per_s": None,
                "model_progress": None,
                "outcome": None,
                **_NO_GPUS,
            }
        case events.StageEntered() as event:
            return {
                "status": status_after(state.status, event.status),
                "activity": event.activity,
                "detail": event.detail,
                "model_progress": state.model_progress
                if event.activity in FETCHING_MODEL
                else None,
                "gpu_idle_since": None,
            }
        case events.GpuSample() as event:
            return _after_sample(state, record, event)
        case events.ModelProgress() as event:
            return {"model_progress": event}
        case events.RunFacts() as event:
            return {"total_steps": event.total_steps}
        case events.Evaluation() as event:
            base = event.loss if event.step == 0 else state.base_eval_loss
            return {"eval_loss": event.loss, "base_eval_loss": base}
        case events.CheckpointCommitted() as event:
            return {"last_checkpoint_step": event.step, "checkpoint_path": event.path}
        case events.Resumed() as event:
            return {"step": event.step, "activity": Activity.RESUMING}
        case events.AdapterSaved() as event:
            return {
                "adapter_path": event.path,
                "adapter_manifest_sha256": event.manifest_sha256,
                "adapter_verified": False,
            }
        case events.AdapterVerified():
            return {"adapter_verified": True}
        case events.CancelRequested() as event:
            return {
                "activity": Activity.CANCELLING,
                "detail": event.reason,
                "gpu_idle_since": None,
            }
        case events.AttemptEnded() as event:
            return {**_NO_GPUS, **_after_end(state, record, event)}
        case _:
            return {}


_NO_GPUS: dict[str, object] = {"gpus": (), "gpus_at": None, "gpu_idle_since": None}


def _after_sample(
    state: JobState, record: events.JournalRecord, event: events.GpuSample
) -> dict[str, object]:
    is_idle = state.activity is Activity.TRAINING and are_idle(event.gpus)
    since = (state.gpu_idle_since or record.time) if is_idle else None
    return {"gpus": event.gpus, "gpus_at": record.time, "gpu_idle_since": since}


def _after_metrics(state: JobState, event: events.Metrics) -> dict[str, object]:
    smoothed = event.step_s if state.step_s is None else 0.8 * state.step_s + 0.2 * event.step_s
    return {
        "step": event.step,
        "epoch": event.epoch,
        "loss": event.loss,
        "first_loss": event.loss if state.first_loss is None else state.first_loss,
        "learning_rate": event.learning_rate,
        "grad_norm": event.grad_norm,
        "step_s": smoothed,
        "tokens_per_s": event.tokens / event.step_s if event.step_s > 0 else None,
    }


def _after_end(
    state: JobState, record: events.JournalRecord, event: events.AttemptEnded
) -> dict[str, object]:
    if state.status.is_final:
        return {}
    if event.will_retry:
        return {
            "activity": Activity.RECOVERING,
            "detail": event.detail,
            "model_progress": None,
        }
    if state.rented:
        return {
            "model_progress": None,
            "activity": Activity.SECURING_RESULTS,
            "detail": event.detail,
            "outcome": event.stop_reason,
        }
    return {
        "status": status_after(state.status, STOP_REASONS[event.stop_reason].status),
        "activity": None,
        "detail": event.detail,
        "model_progress": None,
        "stop_reason": event.stop_reason,
        "ended_at": record.time,
    }
