"""How far another database has each job, by the store's own account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, update

from shared.lifecycle import JobStatus
from shared.store.cursor import Cursor
from shared.store.mirror_progress import MirrorFailure
from shared.store.schema import training_jobs, uploads
from shared.store.store import Store
from tests.shared.store import journal
from tests.shared.store.journal import job_spec

HERE = "https://one.supabase.co#public"
ELSEWHERE = "https://two.supabase.co#public"
NOW = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)


async def add_job(store: Store, job_id: str = "job-one", steps: int = 3) -> None:
    await store.add_job(job_spec(job_id), "local")
    await store.apply_records(job_id, journal.completed_job(steps=steps, job_id=job_id))


async def sent(store: Store, job_id: str = "job-one", target: str = HERE) -> None:
    picture = await store.mirror_progress.take_picture(job_id, target)
    assert picture is not None
    await store.mirror_progress.advance(
        job_id, target, cursor=picture.job.cursor, job_updated_at=picture.job.updated_at
    )


async def test_a_job_lags_until_it_is_sent_and_again_when_it_changes(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    assert await store.mirror_progress.lagging(HERE) == ["job-one"]
    await sent(store)
    assert await store.mirror_progress.lagging(HERE) == []
    await store.apply_records("job-one", journal.completed_job())
    assert await store.mirror_progress.lagging(HERE) == ["job-one"]
    await sent(store)
    assert await store.mirror_progress.lagging(HERE) == []


async def test_a_job_lags_while_its_metrics_are_not_all_there(store: Store) -> None:
    await add_job(store)
    picture = await store.mirror_progress.take_picture("job-one", HERE)
    assert picture is not None
    await store.mirror_progress.advance(
        "job-one", HERE, cursor=Cursor(1, 5), job_updated_at=picture.job.updated_at
    )
    assert await store.mirror_progress.lagging(HERE) == ["job-one"]
    later = await store.mirror_progress.take_picture("job-one", HERE)
    assert later is not None
    assert later.sent == Cursor(1, 5)


async def test_those_that_run_come_first_and_then_the_newest(store: Store) -> None:
    await add_job(store, "job-old")
    await add_job(store, "job-new")
    await store.add_job(job_spec("job-runs"), "local")
    await add_job(store, "job-newest")
    assert await store.mirror_progress.lagging(HERE) == [
        "job-runs",
        "job-newest",
        "job-new",
        "job-old",
    ]


async def test_a_later_picture_is_later_whatever_the_clock_says(store: Store) -> None:
    await add_job(store)
    first = await store.mirror_progress.take_picture("job-one", HERE)
    async with store.database.writing() as connection:
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        await connection.execute(update(training_jobs).values(updated_at=hour_ago))
    second = await store.mirror_progress.take_picture("job-one", HERE)
    third = await store.mirror_progress.take_picture("job-one", ELSEWHERE)
    assert first is not None and second is not None and third is not None
    assert first.as_of < second.as_of < third.as_of


async def test_another_target_has_nothing_yet(store: Store) -> None:
    await add_job(store)
    await sent(store)
    picture = await store.mirror_progress.take_picture("job-one", ELSEWHERE)
    assert picture is not None
    assert (picture.sent, picture.artifacts_digest) == (Cursor(0, 0), "")
    # What the first one still reports of its own is of no account any more.
    await store.mirror_progress.advance("job-one", HERE, cursor=Cursor(1, 9))
    picture = await store.mirror_progress.take_picture("job-one", ELSEWHERE)
    assert picture is not None
    assert picture.sent == Cursor(0, 0)


async def test_a_picture_of_a_job_that_is_gone_is_none(store: Store) -> None:
    await add_job(store)
    await sent(store)
    async with store.database.writing() as connection:
        await connection.execute(delete(training_jobs))
    assert await store.mirror_progress.take_picture("job-one", HERE) is None
    await store.mirror_progress.note_failure("job-one", HERE, MirrorFailure.REFUSED, "no", NOW)
    assert await store.mirror_progress.behind(HERE) == []


async def test_what_was_measured_is_read_in_order_and_nothing_else(store: Store) -> None:
    await add_job(store, steps=5)
    upto = (await store.get_job("job-one")).cursor
    found = await store.mirror_progress.measured("job-one", Cursor(0, 0), upto, 4)
    assert [record.event.kind for record in found] == ["evaluation"] + ["metrics"] * 3
    last = Cursor(found[-1].attempt, found[-1].seq)
    rest = await store.mirror_progress.measured("job-one", last, upto, 100)
    assert [record.event.kind for record in rest] == ["metrics"] * 2 + ["evaluation"]


async def test_since_when_something_fails_stays_until_it_goes_well(store: Store) -> None:
    await add_job(store)
    progress = store.mirror_progress
    await progress.note_failure("job-one", HERE, MirrorFailure.UNREACHABLE, "away", NOW)
    later = NOW + timedelta(hours=1)
    await progress.note_failure("job-one", HERE, MirrorFailure.UNAUTHORIZED, "no key", later)
    [behind] = await progress.behind(HERE)
    assert (behind.failure, behind.error, behind.failing_since) == ("unauthorized", "no key", NOW)
    await sent(store)
    await progress.note_success("job-one", HERE)
    assert await progress.behind(HERE) == []


async def test_rows_that_were_left_out_stay_written_down(store: Store) -> None:
    await add_job(store)
    progress = store.mirror_progress
    await progress.note_failure("job-one", HERE, MirrorFailure.ROWS, "1 row", NOW)
    await sent(store)
    await progress.note_success("job-one", HERE)
    [behind] = await progress.behind(HERE)
    assert (behind.failure, behind.error) == ("rows", "1 row")


async def test_a_file_in_the_storage_changes_the_mark_of_its_job(store: Store) -> None:
    await add_job(store)
    assert await store.mirror_progress.artifact_marks() == {}
    row = {each.name: "" for each in uploads.columns if not each.nullable}
    values = {
        "object_name": "jobs/x/y/z",
        "training_job_id": "job-one",
        "attempt": 1,
        "size_bytes": 1,
        "sent_bytes": 1,
        "updated_at": NOW,
    }
    async with store.database.writing() as connection:
        await connection.execute(insert(uploads).values({**row, **values, "state": "uploading"}))
    assert await store.mirror_progress.artifact_marks() == {}
    async with store.database.writing() as connection:
        await connection.execute(update(uploads).values(state="verified"))
    assert list(await store.mirror_progress.artifact_marks()) == ["job-one"]


async def test_a_final_job_that_was_sent_is_asked_for_no_more(store: Store) -> None:
    await add_job(store)
    assert (await store.get_job("job-one")).status is JobStatus.COMPLETED
    await sent(store)
    assert await store.mirror_progress.behind(HERE) == []
