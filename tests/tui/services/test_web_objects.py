"""A job as the web application sees it: the seed's columns, filled where they are known."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from shared.forecast.forecast import Forecast, Part, PartName, Place, PlannedWork, Span
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.machine_request import Candidate, MachineRequest
from shared.rental import Machine, MachinePurpose, MachineState, Rental, RentalPhase
from shared.store.web_facts import StoredObject, WebFacts
from shared.web_id import web_job_id
from tests.shared.store import journal
from tests.shared.store.journal import job_spec
from tests.tui.services.supabase.mirroring import link_file, session_in
from tui.services.web_objects import job_object, job_objects

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
SEEDS_COLUMNS = {
    *("id", "training_file_id", "status", "runpod_pod_id", "runpod_endpoint_url"),
    *("hyperparameters", "metrics", "current_step", "total_steps", "current_epoch", "started_at"),
    *("completed_at", "estimated_completion_at", "estimated_cost_usd", "actual_cost_usd"),
    *("gpu_hours", "lora_artifact_path", "training_log_path", "error_message", "retry_count"),
    *("created_by", "created_at", "updated_at"),
}


async def test_every_column_of_the_seed_is_there_and_plain_json(tmp_path: Path) -> None:
    async with session_in(tmp_path) as session:
        await session.store.add_job(job_spec(), "local")
        await session.store.apply_records("job-one", journal.completed_job(steps=4))
        [found] = await job_objects(session, await session.store.list_jobs())
        mark = await session.store.rentals.mark()
    assert set(found) >= SEEDS_COLUMNS
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["id"] == web_job_id(mark, "job-one")
    assert found["status"] == "completed"
    assert found["metrics"]["loss"] == pytest.approx(1.6)
    assert found["hyperparameters"]["lora_r"] == 16
    assert (found["runpod_pod_id"], found["actual_cost_usd"]) == (None, None)


async def test_a_queued_job_has_no_pod_and_no_times(tmp_path: Path) -> None:
    async with session_in(tmp_path) as session:
        await session.store.add_job(job_spec(), "runpod:job-one", request=_request())
        [found] = await job_objects(session, await session.store.list_jobs())
    for name in ("runpod_pod_id", "started_at", "completed_at", "estimated_completion_at"):
        assert found[name] is None
    assert found["actual_cost_usd"] == 0
    assert found["host"] == "runpod"


async def test_a_job_of_the_web_application_keeps_its_id_its_user_and_its_file(
    tmp_path: Path,
) -> None:
    job_id, user, file_id = str(uuid4()), str(uuid4()), str(uuid4())
    async with session_in(tmp_path) as session:
        await session.store.add_job(job_spec(job_id), "local", created_by=user)
        await link_file(session.store, file_id)
        [found] = await job_objects(session, await session.store.list_jobs())
    assert (found["id"], found["created_by"], found["training_file_id"]) == (job_id, user, file_id)


async def test_a_rented_job_says_its_machine_and_what_it_costs(tmp_path: Path) -> None:
    async with session_in(tmp_path) as session:
        await session.store.add_job(job_spec(), "runpod:job-one", request=_request())
        await session.store.apply_records("job-one", journal.completed_job(steps=10)[:8])
        job = await session.store.get_job("job-one")
    began = NOW - timedelta(hours=2)
    machine = Machine(
        name="br-1",
        job_id="job-one",
        provider="runpod",
        purpose=MachinePurpose.TRAIN,
        number=1,
        label="2x H100_PCIE secure US-KS-2",
        state=MachineState.RENTED,
        usd_per_hour=3.0,
        created_at=began,
        machine_id="pod123",
        rented_at=began,
    )
    rental = Rental(phase=RentalPhase.RUNNING, since=began, machine="br-1", first_rented_at=began)
    facts = WebFacts(rental=rental, machines=(machine,), forecast=_forecast())
    found = job_object(job, facts, "mark", NOW)
    assert found["runpod_pod_id"] == "pod123"
    assert found["gpu_type"] == "H100_PCIE"
    assert found["actual_cost_usd"] == pytest.approx(6.0)
    assert found["gpu_hours"] == pytest.approx(4.0)
    assert found["estimated_cost_usd"] == pytest.approx(3.0 * 8 * 600 / 3600)
    assert job.state.last_event_at is not None
    # Six steps at half a second, then saving and bringing it home.
    ends = job.state.last_event_at + timedelta(seconds=6 * 0.5 + 2 * 600)
    assert datetime.fromisoformat(found["estimated_completion_at"]) == ends


async def test_a_failed_job_says_why_without_control_characters(tmp_path: Path) -> None:
    records = journal.journal(
        journal.started(),
        journal.stage(JobStatus.TRAINING, Activity.TRAINING),
        journal.ended(StopReason.OUT_OF_MEMORY, detail="\x1b[31mout of\x00 memory"),
    )
    async with session_in(tmp_path) as session:
        await session.store.add_job(job_spec(), "ssh:box")
        await session.store.apply_records("job-one", records)
        [found] = await job_objects(session, await session.store.list_jobs())
    assert found["error_message"] == "out_of_memory: out of memory"
    assert found["stop_reason"] == "out_of_memory"
    assert found["runpod_endpoint_url"] == "ssh://box"
    assert found["estimated_completion_at"] is None


async def test_what_lies_in_the_storage_is_named(tmp_path: Path) -> None:
    async with session_in(tmp_path) as session:
        await session.store.add_job(job_spec(), "local")
        job = await session.store.get_job("job-one")
    objects = (
        _stored("jobs/x/1/adapter_model.safetensors", "lora_adapter", 1),
        _stored("jobs/x/2/adapter_model.safetensors", "lora_adapter", 2),
        _stored("jobs/x/2/trainer.log", "file", 2),
    )
    found = job_object(job, WebFacts(objects=objects), "mark", NOW)
    assert found["lora_artifact_path"] == "jobs/x/2/adapter_model.safetensors"
    assert found["training_log_path"] == "jobs/x/2/trainer.log"


async def test_more_jobs_than_one_question_takes_are_read_at_once(tmp_path: Path) -> None:
    async with session_in(tmp_path) as session:
        for number in range(520):
            await session.store.add_job(job_spec(f"job-{number}"), "local")
        jobs = await session.store.list_jobs()
        found = await job_objects(session, jobs)
    assert [each["brightrun_job_id"] for each in found] == [job.job_id for job in jobs]


def _stored(name: str, artifact_type: str, attempt: int) -> StoredObject:
    return StoredObject(name, attempt, artifact_type, name.rpartition("/")[2], "c" * 64, 10)


def _request() -> MachineRequest:
    candidate = Candidate(gpu_type="H100_PCIE", usd_per_hour=3.0)
    return MachineRequest(candidates=(candidate,), budget_usd=50.0)


def _forecast() -> Forecast:
    return Forecast(
        work=PlannedWork(base_model="tiny", tokens_per_epoch=900, num_epochs=1, total_steps=10),
        place=Place(machine="H100_PCIE", is_rented=True, usd_per_hour=3.0),
        parts=tuple(
            Part(name=name, seconds=Span.exactly(600.0), source="made up") for name in PartName
        ),
    )
