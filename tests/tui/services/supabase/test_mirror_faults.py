"""The mirror on bad days: nothing is lost, nothing is there twice, and everybody is told why."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from shared.events import utc_now
from shared.store.mirror_progress import MirrorFailure
from shared.store.schema import training_jobs
from tests.fakes.supabase.rig import SupabaseRig
from tests.shared.store import journal
from tests.tui.services.supabase.mirroring import (
    DEADLINE_S,
    add_job,
    jobs_there,
    link_file,
    metric_count,
    metrics_here,
    metrics_there,
    mirroring,
    nobody_answers,
    send_once,
    session_in,
    until,
    until_nothing_lags,
    web_id,
)
from tui.services.session import Session
from tui.services.supabase.mirror_worker import MirrorWorker
from tui.services.supabase.sender import BATCH_ROWS

METRICS = "/rest/v1/training_metrics_history"
JOBS = "/rest/v1/training_jobs"


async def failures_of(session: Session, target: str) -> dict[str, tuple[str, str]]:
    behind = await session.store.mirror_progress.behind(target)
    return {each.job_id: (each.failure, each.error) for each in behind if each.failure}


@pytest.mark.parametrize("path", [JOBS, METRICS])
@pytest.mark.parametrize("how", [{"reset": True}, {"status": 500}, {"status": 429}])
async def test_an_answer_lost_after_the_write_makes_no_row_twice(
    fresh_supabase: SupabaseRig, tmp_path: Path, path: str, how: dict[str, object]
) -> None:
    rig = fresh_supabase
    fault = rig.faults.add(path=path, method="POST", after_doing=True, times=2, **how)
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job(steps=20))
        async with mirroring(session, rig.settings()):
            await until(lambda: fault.met == 2, "both answers were lost")
            await until(lambda: jobs_there(rig) != [], "the job is there")
            await until_nothing_lags(session, rig)
        assert metrics_there(rig) == await metrics_here(session.store)
        assert len(jobs_there(rig)) == 1
        assert await failures_of(session, rig.settings().target) == {}


async def test_a_process_killed_in_mid_batch_goes_on_where_it_was(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job(steps=3 * BATCH_ROWS))
        # The steps of the second batch are written, and nobody ever hears of it.
        fault = rig.faults.add(path=METRICS, method="POST", skip=2, after_doing=True, hang=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.tui.services.supabase.mirror_process", str(tmp_path)),
            env={**os.environ, **rig.environment(), "PYTHONPATH": os.getcwd()},
        )
        try:
            await until(lambda: fault.met == 1, "the second batch is there")
            await until(lambda: metric_count(rig) == 2 * BATCH_ROWS, "its rows are there")
        finally:
            process.kill()
            await process.wait()
        picture = await session.store.mirror_progress.take_picture("job-one", rig.settings().target)
        assert picture is not None
        assert BATCH_ROWS <= picture.sent.seq < BATCH_ROWS + 10
        await send_once(session, rig.settings())
        assert metrics_there(rig) == await metrics_here(session.store)


async def test_hours_without_an_answer_lose_nothing(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    said: list[str] = []
    pauses: list[float] = []
    clock_s = 0.0
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job(steps=20)[:5])
        await send_once(session, rig.settings())
        with nobody_answers(rig) as back:

            async def sleep(seconds: float) -> None:
                nonlocal clock_s
                pauses.append(seconds)
                clock_s += seconds
                if clock_s > 3 * 3600:
                    await asyncio.to_thread(back)
                await asyncio.sleep(0)

            worker = MirrorWorker(
                session, rig.settings(), said.append, sleep=sleep, clock=lambda: clock_s
            )
            await session.store.apply_records("job-one", journal.completed_job(steps=20))
            running = asyncio.create_task(worker.run())
            await until_nothing_lags(session, rig)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert metrics_there(rig) == await metrics_here(session.store)
    assert jobs_there(rig)[0]["status"] == "completed"
    assert max(pauses) <= 300
    assert sum(pause > 2 for pause in pauses) < 120
    assert 1 <= len(said) <= 2
    assert "Nothing is lost" in said[0]


async def test_it_waits_as_long_as_the_server_asks_for(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    rig.faults.add(path=JOBS, status=429, retry_after_s=77)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        worker = MirrorWorker(session, rig.settings(), lambda text: None, sleep=sleep)
        running = asyncio.create_task(worker.run())
        await until_nothing_lags(session, rig)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert pauses[0] == 77


async def test_a_job_that_belongs_to_another_user_is_set_aside_and_the_others_go_on(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    said: list[str] = []
    async with session_in(tmp_path) as session:
        await rig.log_in(session.config.supabase_session_path, rig.user_one)
        await add_job(session.store, journal.completed_job())
        await add_job(session.store, journal.completed_job(job_id="job-two"), "job-two")
        theirs = await web_id(session.store, "job-two")
        insert = "insert into training_jobs (id, status, created_by) values ($1, 'queued', $2)"
        rig.execute(insert, theirs, rig.user_two)
        settings = rig.settings(rig.user_one)
        async with mirroring(session, settings, said):
            await until(lambda: len(metrics_there(rig)) == 4, "job-one is there")
            async with asyncio.timeout(DEADLINE_S):
                while "job-two" not in await failures_of(session, settings.target):
                    await asyncio.sleep(0.02)
        [(failure, error)] = (await failures_of(session, settings.target)).values()
        assert failure == MirrorFailure.REFUSED
        assert "another user" in error
    rows = {row["brightrun_job_id"]: row["status"] for row in jobs_there(rig)}
    assert rows == {"job-one": "completed", None: "queued"}
    assert len(said) == 1


async def test_a_revoked_key_is_said_once_and_nothing_is_lost(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    said: list[str] = []
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        rig.revoke(rig.service_key)
        async with mirroring(session, rig.settings(), said):
            await until(lambda: len([r for r in rig.requests if r.status == 401]) > 3, "refused")
            failures = await failures_of(session, rig.settings().target)
            assert failures["job-one"][0] == MirrorFailure.UNAUTHORIZED
            rig.gateway.keys[rig.service_key] = "service_role"
            await until_nothing_lags(session, rig)
        assert metrics_there(rig) == await metrics_here(session.store)
    assert len(said) == 1
    assert rig.service_key not in said[0]


async def test_a_login_that_does_not_hold_any_more_waits_for_a_new_one(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    said: list[str] = []
    settings = rig.settings(rig.user_one)
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        async with mirroring(session, settings, said):
            async with asyncio.timeout(DEADLINE_S):
                while not said:
                    await asyncio.sleep(0.02)
            assert "brightrun supabase login" in said[0]
            await rig.log_in(session.config.supabase_session_path, rig.user_one)
            await until_nothing_lags(session, rig, settings.target)
        assert metrics_there(rig) == await metrics_here(session.store)


@pytest.mark.parametrize(
    "shape",
    [
        "drop table training_metrics_history",
        "drop table training_metrics_history, model_artifacts, training_jobs;"
        "create table training_jobs (id uuid primary key, user_id uuid, state text);"
        "grant all on training_jobs to service_role",
    ],
)
async def test_tables_of_another_shape_are_left_alone_until_they_are_ours(
    fresh_supabase: SupabaseRig, tmp_path: Path, shape: str
) -> None:
    rig = fresh_supabase
    said: list[str] = []
    rig.execute(shape)
    rig.reload_schema()
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        async with mirroring(session, rig.settings(), said):
            async with asyncio.timeout(DEADLINE_S):
                while not said:
                    await asyncio.sleep(0.02)
            assert "brightrun supabase migrate" in said[0]
            failures = await failures_of(session, rig.settings().target)
            assert failures["job-one"][0] == MirrorFailure.MISMATCH
            if "user_id" in shape:
                assert rig.execute("select * from training_jobs") == []
            await asyncio.to_thread(rig.fresh)
            await until_nothing_lags(session, rig)
        assert metrics_there(rig) == await metrics_here(session.store)


async def test_a_row_that_the_database_refuses_is_left_out_and_the_rest_goes_on(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    rig.execute(
        "alter table training_metrics_history add constraint unlucky check (step not in (13, 14))"
    )
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job(steps=200))
        await send_once(session, rig.settings())
        there = [row[1] for row in metrics_there(rig)]
        assert there == [step for step in range(201) if step not in (13, 14)]
        [(failure, error)] = (await failures_of(session, rig.settings().target)).values()
        assert failure == MirrorFailure.ROWS
        assert "2 metric rows were left out" in error
        assert "attempt 1 step 13" in error
        assert "unlucky" in error
        assert await session.store.mirror_progress.lagging(rig.settings().target) == []


async def test_rows_that_are_all_refused_are_tried_again_and_not_given_up(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    rig.execute("alter table training_metrics_history add constraint none check (step < 0)")
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job(steps=200))
        async with mirroring(session, rig.settings()):
            async with asyncio.timeout(DEADLINE_S):
                while not await failures_of(session, rig.settings().target):
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(
                rig.execute, "alter table training_metrics_history drop constraint none"
            )
            await until_nothing_lags(session, rig)
        assert metrics_there(rig) == await metrics_here(session.store)


async def test_two_workers_at_once_make_no_row_twice(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    async with session_in(tmp_path) as one, session_in(tmp_path) as two:
        await add_job(one.store, journal.completed_job(steps=3000))
        async with mirroring(one, rig.settings()), mirroring(two, rig.settings()):
            await until_nothing_lags(one, rig)
        assert metrics_there(rig) == await metrics_here(one.store)


async def test_a_project_that_hangs_holds_up_no_job(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    records = journal.completed_job(steps=300)
    async with session_in(tmp_path) as session:
        await add_job(session.store, records[:10])
        hangs = rig.faults.add(path="/rest/v1", hang=True)
        async with mirroring(session, rig.settings()):
            await until(lambda: hangs.met == 1, "it hangs")
            async with asyncio.timeout(5):
                for start in range(10, len(records), 20):
                    await session.store.apply_records("job-one", records[start : start + 20])
    assert hangs.met == 1


async def test_a_job_that_the_server_cannot_take_now_does_not_keep_the_others_waiting(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    rig.execute(
        "create function too_slow() returns trigger language plpgsql as $$ begin "
        "if new.step = 7 then raise 'canceling statement' using errcode = '57014'; end if; "
        "return new; end $$;"
        "create trigger too_slow before insert on training_metrics_history "
        "for each row execute function too_slow()"
    )
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job(job_id="job-two"), "job-two")
        await add_job(session.store, journal.completed_job(steps=9))
        target = rig.settings().target
        async with mirroring(session, rig.settings()):
            async with asyncio.timeout(DEADLINE_S):
                while await session.store.mirror_progress.lagging(target) != ["job-one"]:
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(
                rig.execute, "drop trigger too_slow on training_metrics_history"
            )
            await until_nothing_lags(session, rig)
        assert metrics_there(rig)[-1][1] == 9
        assert await failures_of(session, target) == {}


async def test_a_training_file_that_is_gone_leaves_the_job_without_one(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    file_id = "5d0d7a64-6c5e-4c0a-9d2c-1f4c9a6e1b11"
    async with session_in(tmp_path) as session:
        await add_job(session.store, journal.completed_job())
        await link_file(session.store, file_id)
        await send_once(session, rig.settings())
        assert jobs_there(rig)[0]["training_file_id"] is None
        rig.execute("insert into training_files (id, name) values ($1, 'file')", file_id)
        async with session.store.database.writing() as connection:
            await connection.execute(update(training_jobs).values(updated_at=utc_now()))
        await send_once(session, rig.settings())
    assert str(jobs_there(rig)[0]["training_file_id"]) == file_id


@pytest.mark.slow
async def test_a_hundred_thousand_rows_arrive_with_a_quarter_of_the_answers_lost(
    fresh_supabase: SupabaseRig, tmp_path: Path
) -> None:
    rig = fresh_supabase
    rig.faults.add(path=METRICS, after_doing=True, reset=True, times=None, probability=0.25)
    async with session_in(tmp_path) as session:
        records = journal.completed_job(steps=100_000)
        await session.store.add_job(journal.job_spec(), "local")
        for start in range(0, len(records), 10_000):
            await session.store.apply_records("job-one", records[start : start + 10_000])
        async with mirroring(session, rig.settings()), asyncio.timeout(300):
            while await session.store.mirror_progress.lagging(rig.settings().target):
                await asyncio.sleep(0.1)
        assert metrics_there(rig) == await metrics_here(session.store)
