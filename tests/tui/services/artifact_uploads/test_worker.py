"""Uploads by way of the console, on a real TUS server and the project's own rules."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from shared.store import schema
from shared.store.uploads import UploadState
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.services.artifact_uploads.completed import (
    FILES,
    QUICK,
    at_home,
    own_row,
    require_same_bytes,
    uploads_of,
    worker_for,
)
from tui.services.artifact_uploads.worker import Worker


@pytest.fixture
def rig(fresh_supabase: SupabaseRig) -> SupabaseRig:
    return fresh_supabase


def states(uploads: dict[str, object]) -> set[UploadState]:
    return {upload.state for upload in uploads.values()}  # type: ignore[attr-defined]


async def test_a_completed_job_goes_up_and_every_byte_is_read_back(
    rig: SupabaseRig, home: Path
) -> None:
    async with at_home(home) as (session, _):
        await worker_for(session, rig.settings()).look()

        uploads = await uploads_of(session)
        assert set(uploads) == FILES
        assert states(uploads) == {UploadState.VERIFIED}
        require_same_bytes(rig, uploads)
        steps = rig.storage.bytes_of("model-artifacts", uploads["metrics.csv"].object_name)
        rows = list(csv.DictReader(io.StringIO(steps.decode())))
        assert [row["loss"] for row in rows if row["loss"]] == ["1.9", "1.8", "1.7"]
        report = json.loads(
            rig.storage.bytes_of("model-artifacts", uploads["run_report.json"].object_name)
        )
        assert report["status"] == "completed"
        assert report["figures"]["eval_loss"] == 1.5
        weights = uploads["adapter_model.safetensors"]
        assert report["sha256"]["adapter_model.safetensors"] == weights.sha256


async def test_a_second_look_and_a_second_process_send_nothing_more(
    rig: SupabaseRig, home: Path
) -> None:
    async with at_home(home) as (session, _):
        await worker_for(session, rig.settings()).look()
    rig.requests.clear()
    async with at_home(home) as (session, _):
        await worker_for(session, rig.settings()).look()
        assert states(await uploads_of(session)) == {UploadState.VERIFIED}
    assert not rig.requests


async def test_while_supabase_is_down_nothing_is_lost_and_later_all_goes_up(
    rig: SupabaseRig, home: Path
) -> None:
    said: list[str] = []
    async with at_home(home) as (session, job):
        worker = Worker(session, rig.settings(), said.append, QUICK)
        rig.stop("gateway")
        try:
            await worker.look()
            await worker.look()
            assert states(await uploads_of(session)) == {UploadState.WAITING}
        finally:
            rig.start("gateway")
        assert len(said) == 1
        assert (await session.store.get_job(job.job_id)).status == "completed"
        await worker.look()
        assert states(await uploads_of(session)) == {UploadState.VERIFIED}


async def test_a_key_that_was_revoked_stops_the_sending_until_there_is_another(
    rig: SupabaseRig, home: Path
) -> None:
    async with at_home(home) as (session, _):
        said: list[str] = []
        settings = replace(rig.settings(), key=rig.secret_key)
        worker = Worker(session, settings, said.append, QUICK)
        rig.revoke(rig.secret_key)
        await worker.look()
        await worker.look()
        uploads = await uploads_of(session)
        assert states(uploads) == {UploadState.WAITING}
        assert len(said) == 1
        assert rig.secret_key not in "".join([*said, *(each.error for each in uploads.values())])
        rig._allow_all_keys()
        await worker.look()
        assert states(await uploads_of(session)) == {UploadState.VERIFIED}


async def test_a_user_uploads_once_the_row_of_the_job_is_theirs(
    rig: SupabaseRig, home: Path
) -> None:
    async with at_home(home) as (session, job):
        await rig.log_in(session.config.supabase_session_path, rig.user_one)
        worker = worker_for(session, rig.settings(rig.user_one))
        await worker.look()
        uploads = await uploads_of(session)
        assert states(uploads) == {UploadState.WAITING}
        assert "row-level security" in uploads["manifest.json"].error
        assert rig.execute("select 1 from storage.objects") == []

        await own_row(session, rig, job, rig.user_one)
        await worker.look()
        uploads = await uploads_of(session)
        assert states(uploads) == {UploadState.VERIFIED}
        require_same_bytes(rig, uploads)


async def test_the_job_of_another_user_takes_nothing_of_ours(rig: SupabaseRig, home: Path) -> None:
    async with at_home(home) as (session, job):
        await rig.log_in(session.config.supabase_session_path, rig.user_two)
        await own_row(session, rig, job, rig.user_one)
        await worker_for(session, rig.settings(rig.user_two)).look()
        assert states(await uploads_of(session)) == {UploadState.WAITING}
        assert rig.execute("select 1 from storage.objects") == []


async def test_a_bucket_that_is_missing_is_said_and_waited_for(
    rig: SupabaseRig, home: Path
) -> None:
    rig.execute("delete from storage.buckets where id = 'model-artifacts'")
    async with at_home(home) as (session, _):
        worker = worker_for(session, rig.settings())
        await worker.look()
        error = (await uploads_of(session))["manifest.json"].error
        assert "no bucket 'model-artifacts'" in error
        assert "brightrun supabase migrate" in error
        rig.migrate()
        await worker.look()
        assert states(await uploads_of(session)) == {UploadState.VERIFIED}


async def test_a_file_above_the_limit_waits_with_advice_and_the_others_go_up(
    rig: SupabaseRig, home: Path
) -> None:
    rig.execute("update storage.buckets set file_size_limit = 100000 where id = 'model-artifacts'")
    async with at_home(home) as (session, _):
        worker = worker_for(session, rig.settings())
        await worker.look()
        uploads = await uploads_of(session)
        assert uploads["manifest.json"].state is UploadState.VERIFIED
        weights = uploads["adapter_model.safetensors"]
        assert weights.state is UploadState.WAITING
        assert "size limit" in weights.error
        rig.execute("update storage.buckets set file_size_limit = null")
        await worker.look()
        assert states(await uploads_of(session)) == {UploadState.VERIFIED}


async def test_bytes_that_come_back_otherwise_are_sent_again(rig: SupabaseRig, home: Path) -> None:
    async with at_home(home) as (session, _):
        worker = worker_for(session, rig.settings())
        async with worker.connected() as sending:
            await worker.plan(await session.store.get_job("job-one"))
            upload = (await uploads_of(session))["tokenizer.json"]
            await sending.send_from_here(upload)
            [row] = rig.execute("select version from storage.objects")
            (rig.storage.directory / row["version"]).write_bytes(b"[]")
            await sending.verify(upload)
        spoiled = (await uploads_of(session))["tokenizer.json"]
        assert spoiled.state is UploadState.WAITING
        assert "its bytes in the bucket have the sha256" in spoiled.error
        await worker.look()
        uploads = await uploads_of(session)
        assert states(uploads) == {UploadState.VERIFIED}
        require_same_bytes(rig, uploads)


async def test_a_file_that_was_changed_at_home_is_refused_for_good(
    rig: SupabaseRig, home: Path
) -> None:
    async with at_home(home) as (session, job):
        worker = worker_for(session, rig.settings())
        await worker.plan(job)
        upload = (await uploads_of(session))["tokenizer.json"]
        assert upload.local_path is not None
        upload.local_path.write_bytes(b"[]")
        await worker.look()
        uploads = await uploads_of(session)
        assert uploads["tokenizer.json"].state is UploadState.REFUSED
        assert "was changed" in uploads["tokenizer.json"].error
        assert uploads["adapter_model.safetensors"].state is UploadState.VERIFIED


async def test_an_answer_that_is_lost_after_the_last_byte_makes_no_second_object(
    rig: SupabaseRig, home: Path
) -> None:
    rig.faults.add(method="PATCH", path=r"/upload/resumable", times=2, after_doing=True, reset=True)
    async with at_home(home) as (session, _):
        await worker_for(session, rig.settings()).look()
        uploads = await uploads_of(session)
        assert states(uploads) == {UploadState.VERIFIED}
        require_same_bytes(rig, uploads)
    assert len(rig.execute("select 1 from storage.objects")) == len(FILES)


async def test_a_download_that_is_cut_while_reading_back_goes_on(
    rig: SupabaseRig, home: Path
) -> None:
    rig.faults.add(method="GET", path=r"/object/sign/", times=3, status=503)
    async with at_home(home) as (session, _):
        worker = worker_for(session, rig.settings())
        await worker.look()
        await worker.look()
        assert states(await uploads_of(session)) == {UploadState.VERIFIED}


async def test_what_another_has_uploaded_is_read_back_and_not_sent_again(
    rig: SupabaseRig, home: Path
) -> None:
    async with at_home(home) as (session, _):
        await worker_for(session, rig.settings()).look()
        # As where its machine has sent it, and nobody was there to hear of it.
        async with session.store.database.writing() as connection:
            await connection.execute(update(schema.uploads).values(state="waiting"))
        for path in (home / "uploads").glob("begun-*.json"):
            path.unlink()
        rig.requests.clear()
        await worker_for(session, rig.settings()).look()
        assert states(await uploads_of(session)) == {UploadState.VERIFIED}
    assert [request for request in rig.requests if request.method == "PATCH"] == []
