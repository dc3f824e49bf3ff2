"""Values to rows and back; knows the tables, but no connection.

Records become rows in `record_writer`, where it has to be quick.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import RowMapping

from shared.agent_protocol import Health, MachineFacts
from shared.events import AdapterSaved, Evaluation, JournalRecord
from shared.job_spec import JobSpec
from shared.job_state import JobState
from shared.lifecycle import JobStatus
from shared.store.stored import StoredHost, StoredJob


def job_row(job: StoredJob) -> dict[str, Any]:
    """All columns of `training_jobs`."""
    return {
        "id": job.job_id,
        "name": job.spec.name,
        "host": job.host,
        "retry_of": job.retry_of,
        "spec": json.loads(job.spec.model_dump_json()),
        "created_at": job.created_at,
        "queue_place": job.queue_place,
        "waits_for_turn": job.waits_for_turn,
        "sweep_id": job.sweep_id,
        "created_by": job.created_by,
        "training_file_id": job.training_file_id,
        **state_columns(job.state, job.error_message, job.updated_at),
    }


def state_columns(
    state: JobState, error_message: str | None, updated_at: datetime
) -> dict[str, Any]:
    """The columns of `training_jobs` that change as the job goes on."""
    return {
        "state": json.loads(state.model_dump_json()),
        "cursor_attempt": state.attempt,
        "cursor_seq": state.seq,
        "status": state.status.value,
        "activity": state.activity,
        "stop_reason": state.stop_reason,
        "error_message": error_message,
        "updated_at": updated_at,
        "started_at": state.started_at,
        "completed_at": state.ended_at,
    }


def job_of(row: RowMapping) -> StoredJob:
    """The job in a row of `training_jobs`."""
    return StoredJob(
        spec=JobSpec.model_validate_json(json.dumps(row["spec"])),
        state=JobState.model_validate_json(json.dumps(row["state"])),
        host=row["host"],
        retry_of=row["retry_of"],
        error_message=row["error_message"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        queue_place=row["queue_place"],
        waits_for_turn=row["waits_for_turn"],
        sweep_id=row["sweep_id"],
        created_by=row["created_by"],
        training_file_id=row["training_file_id"],
    )


def error_message_of(state: JobState) -> str | None:
    """Why the job failed, in words; None while it did not."""
    if state.status is not JobStatus.FAILED:
        return None
    return ": ".join(str(part) for part in (state.stop_reason, state.detail) if part)


def record_of(row: RowMapping) -> JournalRecord:
    """The record in a row of `job_events`."""
    return JournalRecord(
        job_id=row["training_job_id"],
        attempt=row["attempt"],
        seq=row["seq"],
        time=row["time"],
        trainer_offset=row["trainer_offset"],
        event=row["body"],
    )


def artifact_row(
    job: StoredJob, saved: AdapterSaved, verified: JournalRecord, evaluated: Evaluation | None
) -> dict[str, Any]:
    """A row of `model_artifacts`, for an adapter that was saved and then verified."""
    hyperparameters = job.spec.hyperparameters
    names = {"lora_r", "lora_alpha", "lora_dropout", "target_modules"}
    return {
        "training_job_id": job.job_id,
        "attempt": verified.attempt,
        "path": saved.path,
        "manifest_sha256": saved.manifest_sha256,
        "size_bytes": saved.size_bytes,
        "base_model": job.spec.base_model,
        "base_model_revision": job.spec.base_model_revision,
        "lora_config": hyperparameters.model_dump(mode="json", include=names),
        "eval_loss": evaluated.loss if evaluated else None,
        "perplexity": evaluated.perplexity if evaluated else None,
        "created_at": verified.time,
    }


def contact_row(
    name: str, health: Health, facts: MachineFacts | None, now: datetime
) -> dict[str, Any]:
    """A row of `hosts` for one that answers; without `facts`, those that are known stay."""
    row = {
        "name": name,
        "agent_version": health.version,
        "agent_id": health.agent_id,
        "agent_started_at": health.started_at,
        "root": health.root,
        "last_contact_at": now,
        "unreachable_since": None,
    }
    return row if facts is None else {**row, "facts": json.loads(facts.model_dump_json())}


def host_of(row: RowMapping) -> StoredHost:
    """The host in a row of `hosts`."""
    try:
        facts = None if row["facts"] is None else MachineFacts.model_validate(row["facts"])
    except ValidationError:  # Another version wrote them; they come anew with the next contact.
        facts = None
    return StoredHost(**{**row, "facts": facts})
