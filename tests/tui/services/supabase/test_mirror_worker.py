"""The mirror on a real PostgreSQL behind a real PostgREST, on good days."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from shared.events import utc_now
from shared.lifecycle import Activity, JobStatus
from shared.machine_request import Candidate, MachineRequest
from shared.model_version import version_id
from shared.rental import Machine, MachinePurpose, MachineState
from shared.store.schema import training_jobs
from tests.fakes.supabase.rig import SupabaseRig
from tests.shared.store import journal
from tests.tui.services.supabase.mirroring import (
    add_job,
    jobs_there,
    metrics_here,
    metrics_there,
    mirroring,
    put_object,
    send_once,
    session_in,
    until,
    until_nothing_lags,
    web_id,
)
from tui.services.supabase.connection import connected
from tui.services.supabase.rows_of import job_row
from tui.services.supabase.settings import SupabaseSettings
from tui.services.web_objects import job_objects


async def test_a_whole_job_is_mirrored_row_for_row(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job(steps=30))
        await send_once(session, rig.settings())
        [row] = jobs_there(rig)
        [job] = await session.store.list_jobs()
        assert str(row["id"]) == await web_id(session.store)
        assert row["brightrun_job_id"] == "job-one"
        assert row["status"] == "completed"
        assert (row["current_step"], row["total_steps"]) == (30, 30)
        assert (row["started_at"], row["completed_at"]) == (
            job.state.started_at,
            job.state.ended_at,
        )
        assert row["created_at"] == job.created_at
        assert row["eval_loss"] == 1.5
        assert metrics_there(rig) == await metrics_here(session.store)
        assert len(metrics_there(rig)) == 31
        assert await session.store.mirror_progress.lagging(rig.settings().target) == []


@pytest.mark.parametrize("kind", ["login", "secret key", "service key"])
async def test_every_kind_of_right_writes_rows(
    fresh_supabase: SupabaseRig, tmp_path: Path, kind: str
) -> None:
    rig = fresh_supabase
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        if kind == "login":
            await rig.log_in(session.config.supabase_session_path, rig.user_one)
            settings = rig.settings(rig.user_one)
        elif kind == "secret key":
            settings = SupabaseSettings(rig.url, rig.secret_key, True, created_by=rig.user_one)
        else:
            settings = rig.settings(created_by=rig.user_one)
        await send_once(session, settings)
    [row] = jobs_there(rig)
    assert str(row["created_by"]) == rig.user_one
    assert len(metrics_there(rig)) == 4
    seen = rig.execute_as(rig.user_one, "select count(*) as rows from training_metrics_history")
    assert seen == [{"rows": 4}]


async def test_a_service_key_that_names_nobody_leaves_a_row_its_owner(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    records = journal.completed_job()
    async with session_in(tmp_path) as session:
        await add_job(session.store, records[:4])
        await send_once(session, rig.settings(created_by=rig.user_one))
        await session.store.apply_records("job-one", records)
        await send_once(session, rig.settings())
    [row] = jobs_there(rig)
    assert (row["status"], str(row["created_by"])) == ("completed", rig.user_one)


async def test_what_a_running_job_reports_arrives_while_it_runs(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    records = journal.completed_job(steps=10)
    async with session_in(tmp_path) as session:
        await add_job(session.store, records[:8])
        async with mirroring(session, rig.settings()):
            await until(lambda: len(metrics_there(rig)) == 5, "the first steps")
            assert jobs_there(rig)[0]["status"] == "training"
            await session.store.apply_records("job-one", records[8:])
            await until_nothing_lags(session, rig)
        assert metrics_there(rig) == await metrics_here(session.store)
        assert jobs_there(rig)[0]["status"] == "completed"


async def test_numbers_that_are_not_finite_arrive_as_null_and_are_marked(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    broken = journal.metrics(2, None, grad_norm=None, non_finite=("loss", "grad_norm"))
    records = journal.journal(
        journal.started(),
        journal.stage(JobStatus.TRAINING, Activity.TRAINING),
        journal.metrics(1, 1.0),
        broken,
    )
    async with session_in(tmp_path) as session:
        await add_job(session.store, records)
        await send_once(session, rig.settings())
    rows = rig.execute("select step, loss, is_finite from training_metrics_history order by step")
    assert [tuple(row.values()) for row in rows] == [(1, 1.0, True), (2, None, False)]


async def test_figures_that_overflowed_the_first_schema_arrive_as_they_are(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    step = journal.metrics(5, 1.0, epoch=100.0, learning_rate=4e-9, grad_norm=12345.6)
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.journal(journal.started(), step))
        await send_once(session, rig.settings())
    [row] = rig.execute("select epoch, learning_rate, grad_norm from training_metrics_history")
    assert tuple(row.values()) == (100.0, 4e-9, 12345.6)


async def test_a_later_attempt_has_rows_of_its_own(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    first = journal.journal(journal.started(), journal.metrics(1, 2.0), journal.metrics(2, 1.9))
    second = journal.journal(journal.started("j2"), journal.metrics(2, 1.8), attempt=2)
    async with session_in(tmp_path) as session:
        await add_job(session.store, [*first, *second])
        await send_once(session, rig.settings())
        assert [row[:2] for row in metrics_there(rig)] == [(1, 1), (1, 2), (2, 2)]
        assert metrics_there(rig) == await metrics_here(session.store)
    assert jobs_there(rig)[0]["retry_count"] == 1


async def test_another_project_or_schema_gets_everything_from_the_beginning(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        elsewhere = "https://other.supabase.co#public"
        await session.store.mirror_progress.take_picture("job-one", elsewhere)
        job = await session.store.get_job("job-one")
        await session.store.mirror_progress.advance(
            "job-one", elsewhere, cursor=job.cursor, job_updated_at=job.updated_at
        )
        assert await session.store.mirror_progress.lagging(elsewhere) == []
        await send_once(session, rig.settings())
        assert metrics_there(rig) == await metrics_here(session.store)
        assert await session.store.mirror_progress.lagging(elsewhere) == ["job-one"]


async def test_a_clock_that_is_set_back_does_not_keep_the_end_from_arriving(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    records = journal.completed_job()
    async with session_in(tmp_path) as session:
        await add_job(session.store, records[:-1])
        await send_once(session, rig.settings())
        await session.store.apply_records("job-one", records[-1:])
        earlier = (await session.store.get_job("job-one")).updated_at - timedelta(minutes=10)
        async with session.store.database.writing() as connection:
            await connection.execute(update(training_jobs).values(updated_at=earlier))
        await send_once(session, rig.settings())
    assert jobs_there(rig)[0]["status"] == "completed"


async def test_an_older_picture_never_overwrites_a_newer_one(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    records = journal.completed_job(steps=9)
    target = rig.settings().target
    async with session_in(tmp_path) as session:
        await add_job(session.store, records[:6])
        older = await session.store.mirror_progress.take_picture("job-one", target)
        assert older is not None
        [seen] = await job_objects(session, [older.job])
        await session.store.apply_records("job-one", records[:8])
        await send_once(session, rig.settings())
        async with connected(rig.settings(), tmp_path) as supabase:
            row = job_row(seen, None, older.as_of)
            await supabase.table("training_jobs").upsert([row], on_conflict="id").execute()
    assert jobs_there(rig)[0]["current_step"] == 4


async def test_a_file_in_the_storage_becomes_a_row_of_artifacts(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        await send_once(session, rig.settings())
        job = await web_id(session.store)
        name = f"jobs/{job}/0123456789abcdef/adapter_model.safetensors"
        await put_object(session.store, name)
        await send_once(session, rig.settings())
        [row] = rig.execute("select * from model_artifacts")
        assert str(row["id"]) == version_id(job, 1)
        assert (row["storage_path"], row["sha256"], row["attempt"]) == (name, "c" * 64, 1)
        assert (row["artifact_type"], row["file_size_bytes"]) == ("lora_adapter", 414)
        assert row["manifest_sha256"] == "b" * 64
        assert row["validation_loss"] == 1.5
        assert row["validation_perplexity"] == pytest.approx(math.exp(1.5))
        assert json.loads(row["lora_config"])["lora_r"] == 16
        assert jobs_there(rig)[0]["lora_artifact_path"] == name
        requests = len(rig.requests)
        await send_once(session, rig.settings())
        assert not [each for each in rig.requests[requests:] if "artifacts" in each.path]


async def test_a_file_that_arrives_later_is_noticed_while_the_mirror_runs(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        await send_once(session, rig.settings())
        name = f"jobs/{await web_id(session.store)}/0123456789abcdef/adapter_model.safetensors"
        async with mirroring(session, rig.settings()):
            await put_object(session.store, name)
            await until(lambda: rig.execute("select * from model_artifacts"), "the artifact")
            await until(lambda: jobs_there(rig)[0]["lora_artifact_path"] == name, "its job")


async def test_the_cost_of_a_machine_is_told_anew_while_it_is_paid_for(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    request = MachineRequest(
        candidates=(Candidate(gpu_type="H100_PCIE", usd_per_hour=3600.0),), budget_usd=50.0
    )
    now = utc_now()
    machine = Machine(
        name="br-1",
        job_id="job-one",
        provider="runpod",
        purpose=MachinePurpose.TRAIN,
        number=1,
        label="H100_PCIE secure US-KS-2",
        state=MachineState.RENTED,
        usd_per_hour=3600.0,
        created_at=now,
        machine_id="pod123",
        rented_at=now,
    )
    async with session_in(tmp_path) as session:
        await session.store.add_job(journal.job_spec(), "runpod:job-one", request=request)
        await session.store.rentals.intend(machine)
        async with mirroring(session, rig.settings()):
            await until(lambda: jobs_there(rig), "the job")
            first = jobs_there(rig)[0]["actual_cost_usd"]
            await until(lambda: jobs_there(rig)[0]["actual_cost_usd"] > first, "a later figure")
    assert jobs_there(rig)[0]["runpod_pod_id"] == "pod123"
