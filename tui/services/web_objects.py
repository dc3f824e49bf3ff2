"""A job as the web application has it: the seed's columns, filled where they are known.

The same object goes into the mirrored table and out of the web API, so that both tell one truth.
Reads the store and nothing else; knows neither Supabase nor HTTP. Every value is plain JSON, and a
number that is not finite is null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from shared.clean_text import clean
from shared.events import perplexity_of, utc_now
from shared.forecast.forecast import Forecast, PartName
from shared.job_state import JobState
from shared.money.machine_cost import gpu_hours, gpus_of
from shared.rental import Machine, MachinePurpose, Rental
from shared.store.store import Store
from shared.store.stored import StoredJob
from shared.store.web_facts import StoredObject, WebFacts
from shared.web_id import web_job_id
from tui.services.hosts.names import SSH_PREFIX, shown_host
from tui.services.session import Session

ADAPTER = "lora_adapter"
LOG_NAME = "trainer.log"
_HOME = (PartName.SAVING, PartName.HOME)


async def job_objects(session: Session, jobs: Sequence[StoredJob]) -> list[dict[str, Any]]:
    """One object for each job, in the same order.

    Raises:
        StoreError: the store cannot be read.
    """
    store = session.store
    mark = await store_mark(store)
    facts = await store.web_facts.of(job.job_id for job in jobs)
    now = utc_now()
    return [job_object(job, facts[job.job_id], mark, now) for job in jobs]


async def store_mark(store: Store) -> str:
    """What makes the ids of this store's jobs differ from another's."""
    return await store.web_facts.mark() or await store.rentals.mark()


def job_object(job: StoredJob, facts: WebFacts, mark: str, now: datetime) -> dict[str, Any]:
    """The job's columns; what it costs is counted up to `now` where it is still paid for."""
    state, spec = job.state, job.spec
    machine = _machine(facts)
    return {
        "id": web_job_id(mark, job.job_id),
        "training_file_id": job.training_file_id or facts.training_file_id,
        "status": job.status.value,
        "runpod_pod_id": None if machine is None else machine.machine_id,
        "runpod_endpoint_url": _endpoint(job),
        "hyperparameters": spec.hyperparameters.model_dump(mode="json"),
        "metrics": _metrics(state),
        "current_step": state.step,
        "total_steps": state.total_steps,
        "current_epoch": _finite(state.epoch) or 0.0,
        "started_at": _moment(state.started_at),
        "completed_at": _moment(state.ended_at),
        "estimated_completion_at": _moment(_end_of(job, facts)),
        "estimated_cost_usd": _estimated_usd(facts.forecast),
        "actual_cost_usd": _spent_usd(facts, now),
        "gpu_hours": _gpu_hours(facts, now),
        "lora_artifact_path": _path_of(_adapter_object(facts.objects)),
        "training_log_path": _path_of(_last(facts.objects, "file", LOG_NAME)),
        "error_message": None if job.error_message is None else _text(job.error_message),
        "retry_count": max(state.attempt - 1, 0),
        "created_by": job.created_by,
        "created_at": _moment(job.created_at),
        "updated_at": _moment(job.updated_at),
        # Beyond the seed's.
        "brightrun_job_id": job.job_id,
        "name": _text(spec.name),
        "notes": _text(spec.notes),
        "tags": [_text(tag) for tag in spec.tags],
        "host": _host(job),
        "gpu_type": None if machine is None else gpus_of(machine)[0],
        "base_model": _text(spec.base_model),
        "base_model_revision": spec.base_model_revision,
        "dataset_sha256": spec.dataset.sha256,
        "attempt": state.attempt,
        "activity": state.activity,
        "stop_reason": state.stop_reason,
        "eval_loss": _finite(state.eval_loss),
        "eval_perplexity": _finite(perplexity_of(_finite(state.eval_loss))),
        "retry_of": None if job.retry_of is None else web_job_id(mark, job.retry_of),
    }


def _metrics(state: JobState) -> dict[str, Any]:
    return {
        "loss": _finite(state.loss),
        "learning_rate": _finite(state.learning_rate),
        "grad_norm": _finite(state.grad_norm),
        "epoch": _finite(state.epoch),
        "eval_loss": _finite(state.eval_loss),
        "base_eval_loss": _finite(state.base_eval_loss),
        "tokens_per_s": _finite(state.tokens_per_s),
        "seconds_per_step": _finite(state.step_s),
    }


def _machine(facts: WebFacts) -> Machine | None:
    """The one that serves the job, or else the last that did; None before there is any."""
    serving = None if facts.rental is None else facts.rental.machine
    trained = [
        machine
        for machine in facts.machines
        if machine.purpose is MachinePurpose.TRAIN and machine.machine_id is not None
    ]
    named = (machine for machine in trained if machine.name == serving)
    return next(named, trained[-1] if trained else None)


def _endpoint(job: StoredJob) -> str | None:
    """Of a machine that was there before the job; a rented one has no address of its own."""
    if not job.host.startswith(SSH_PREFIX):
        return None
    return "ssh://" + _text(job.host.removeprefix(SSH_PREFIX))


def _host(job: StoredJob) -> str:
    return _text(shown_host(job.host))


def _end_of(job: StoredJob, facts: WebFacts) -> datetime | None:
    """When it is expected to end; None where it has, or where nobody can say."""
    state = job.state
    if state.status.is_final:
        return None
    left_s = state.eta_s()
    if left_s is not None and state.last_event_at is not None:
        return _later(state.last_event_at, left_s + _closing_s(facts.forecast))
    began = _began_at(job, facts.rental)
    total = None if facts.forecast is None else facts.forecast.total
    return None if began is None or total is None else _later(began, total.expected)


def _began_at(job: StoredJob, rental: Rental | None) -> datetime | None:
    """When its time began to run; None while it waits for its turn."""
    return job.state.started_at if rental is None else rental.first_rented_at


def _closing_s(forecast: Forecast | None) -> float:
    """After the last step."""
    if forecast is None:
        return 0.0
    spans = [part.seconds for part in forecast.parts if part.name in _HOME]
    return sum(span.expected for span in spans if span is not None)


def _later(moment: datetime, seconds: float) -> datetime | None:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:  # At a speed near 0 it never ends.
        return None


def _estimated_usd(forecast: Forecast | None) -> float | None:
    span = None if forecast is None else forecast.cost_usd
    return None if span is None else _finite(span.expected)


def _spent_usd(facts: WebFacts, now: datetime) -> float | None:
    """So far; None on a machine that nobody rents by the hour."""
    if facts.rental is None:
        return None
    return _finite(sum(machine.cost_usd(now) for machine in facts.machines))


def _gpu_hours(facts: WebFacts, now: datetime) -> float | None:
    return None if facts.rental is None else _finite(gpu_hours(facts.machines, now))


def _adapter_object(objects: Sequence[StoredObject]) -> StoredObject | None:
    """Of the latest attempt: the weights, where several files are marked as the adapter's."""
    found = [each for each in objects if each.artifact_type == ADAPTER]
    return max(
        found,
        key=lambda each: (each.attempt, each.file_name.endswith(".safetensors")),
        default=None,
    )


def _last(objects: Sequence[StoredObject], artifact_type: str, name: str) -> StoredObject | None:
    found = [each for each in objects if each.artifact_type == artifact_type]
    return max(
        (each for each in found if each.file_name == name),
        key=lambda each: each.attempt,
        default=None,
    )


def _path_of(stored: StoredObject | None) -> str | None:
    return None if stored is None else stored.object_name


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _text(text: str) -> str:
    """Foreign text, without what a terminal or PostgreSQL (NUL) does not take."""
    return clean(text)
