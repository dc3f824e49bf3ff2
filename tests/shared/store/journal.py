"""Records of a made-up job, in the order in which an agent would send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.events import (
    AdapterSaved,
    AdapterVerified,
    AttemptEnded,
    AttemptStarted,
    Evaluation,
    Event,
    JournalRecord,
    Metrics,
    RunFacts,
    StageEntered,
)
from shared.job_spec import DatasetReference, JobSpec
from shared.lifecycle import Activity, JobStatus, StopReason

BEGIN = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def job_spec(job_id: str = "job-one", **values: Any) -> JobSpec:
    dataset = DatasetReference(file_name="train.json", sha256="a" * 64, size_bytes=10)
    return JobSpec(**{"job_id": job_id, "name": "A job", "dataset": dataset, **values})


def journal(*events: Event, job_id: str = "job-one", attempt: int = 1) -> list[JournalRecord]:
    """The events as one attempt's journal, numbered from 1."""
    return [
        JournalRecord(
            job_id=job_id,
            attempt=attempt,
            seq=seq,
            time=BEGIN + timedelta(seconds=100 * attempt + seq),
            trainer_offset=seq * 10,
            event=event,
        )
        for seq, event in enumerate(events, start=1)
    ]


def metrics(step: int, loss: float | None, **values: Any) -> Metrics:
    defaults: dict[str, Any] = {
        "epoch": step / 10,
        "grad_norm": 1.5,
        "learning_rate": 2e-4,
        "tokens": 100,
        "supervised_tokens": 40,
        "step_s": 0.5,
    }
    return Metrics(step=step, loss=loss, **{**defaults, **values})


def evaluation(step: int, loss: float | None) -> Evaluation:
    return Evaluation(step=step, epoch=step / 10, loss=loss, supervised_tokens=50)


def started(journal_id: str = "j1") -> AttemptStarted:
    return AttemptStarted(journal_id=journal_id, agent_version="0.1.0")


def stage(status: JobStatus, activity: Activity) -> StageEntered:
    return StageEntered(status=status, activity=activity)


def run_facts(total_steps: int) -> RunFacts:
    return RunFacts(
        conversations=9,
        held_out_conversations=1,
        targets=30,
        tokens_per_epoch=900,
        supervised_tokens_per_epoch=400,
        total_steps=total_steps,
        trainable_parameters=1000,
        base_model="tiny",
        device="cpu",
        optim="adamw_torch",
        quantization="none",
    )


def ended(stop_reason: StopReason, *, will_retry: bool = False, detail: str = "") -> AttemptEnded:
    return AttemptEnded(stop_reason=stop_reason, will_retry=will_retry, detail=detail)


def completed_job(
    steps: int = 3, job_id: str = "job-one", manifest_sha256: str = "b" * 64
) -> list[JournalRecord]:
    """A whole job that went well, in one attempt."""
    return journal(
        started(),
        stage(JobStatus.TRAINING, Activity.TRAINING),
        run_facts(steps),
        evaluation(0, 3.0),
        *(metrics(step, 2.0 - step / 10) for step in range(1, steps + 1)),
        evaluation(steps, 1.5),
        AdapterSaved(path="adapter", manifest_sha256=manifest_sha256, size_bytes=414),
        AdapterVerified(
            manifest_sha256=manifest_sha256, prompt="Hi", generated="Hello", generated_tokens=1
        ),
        ended(StopReason.COMPLETED),
        job_id=job_id,
    )
