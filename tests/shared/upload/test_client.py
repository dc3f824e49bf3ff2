from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest

from shared.errors import (
    IntegrityError,
    SupabaseRefused,
    SupabaseUnauthorized,
    SupabaseUnreachable,
)
from shared.upload.file import UploadSource
from shared.upload.ledger import FileLedger
from tests.shared.upload.conftest import BUCKET, CHUNK, FAST, Bucket

UPLOADS = "/upload/resumable"


async def test_a_file_goes_up_in_chunks_and_is_there_byte_for_byte(bucket: Bucket) -> None:
    file = bucket.file(chunks=5.5)

    done = await bucket.upload(file)

    assert bucket.content(file) == file.path.read_bytes()
    assert done.size_bytes == file.path.stat().st_size
    assert bucket.calls("PATCH") == 6
    sent = [progress.sent_bytes for progress in bucket.seen]
    assert sent == sorted(sent) and sent[-1] == done.size_bytes
    assert bucket.seen[-1].eta_s is None


async def test_the_object_tells_its_hash(bucket: Bucket) -> None:
    file = bucket.file()
    done = await bucket.upload(file)
    headers = {"Authorization": f"Bearer {bucket.rig.service_key}"}
    url = f"{bucket.rig.url}/storage/v1/object/info/{BUCKET}/{file.object_name}"
    async with httpx.AsyncClient() as http:
        info = (await http.get(url, headers=headers)).json()
    assert info["metadata"] == {"sha256": done.sha256}


@pytest.mark.parametrize("chunks", [0, 1, 2])
async def test_files_of_no_bytes_and_of_whole_chunks_go_up(bucket: Bucket, chunks: int) -> None:
    file = bucket.file(chunks)
    await bucket.upload(file)
    assert bucket.content(file) == file.path.read_bytes()


async def test_uploading_again_sends_nothing(bucket: Bucket) -> None:
    file = bucket.file()
    first = await bucket.upload(file)
    bucket.sent.clear()
    assert await bucket.upload(file) == first
    assert bucket.sent == []


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 502, "after_doing": True}, {"reset": True}, {"status": 429}],
    ids=["503", "502 after it was done", "reset", "429"],
)
async def test_a_fault_at_part_three_resumes_there(
    bucket: Bucket, fault: dict[str, object]
) -> None:
    bucket.rig.faults.add(method="PATCH", path=UPLOADS, skip=2, times=2, **fault)
    file = bucket.file(chunks=5.5)

    await bucket.upload(file)

    assert bucket.content(file) == file.path.read_bytes()
    assert bucket.calls("POST") == 1
    # Six chunks, and what met the fault; a chunk that had arrived is not sent again.
    assert bucket.calls("PATCH") == (6 if "after_doing" in fault else 8)


async def test_a_server_that_hangs_is_left_and_asked_again(bucket: Bucket) -> None:
    bucket.rig.faults.add(method="PATCH", path=UPLOADS, skip=1, times=1, hang=True)
    file = bucket.file(chunks=3)
    await bucket.upload(file, replace(FAST, request_timeout_s=0.3))
    assert bucket.content(file) == file.path.read_bytes()


async def test_a_token_that_expires_on_the_way_is_renewed_for_the_same_upload(
    bucket: Bucket,
) -> None:
    file = bucket.file(chunks=5.5)
    tokens = [bucket.token(file.object_name, age_s=100), bucket.token(file.object_name)]
    given: list[str] = []

    async def next_token() -> str:
        given.append(tokens[len(given)])
        return given[-1]

    async def expire_after_three(answer: httpx.Response) -> None:
        if answer.headers.get("Upload-Offset") == str(3 * CHUNK):
            bucket.rig.tus.fault(expire_tokens_before=time.time() - 50)

    await bucket.upload(file, token=next_token, on_answer=expire_after_three)

    assert len(given) == 2
    assert bucket.calls("POST") == 1
    assert bucket.content(file) == file.path.read_bytes()


async def test_an_upload_may_outlive_many_tokens(bucket: Bucket) -> None:
    file, begun_at = bucket.file(chunks=5.5), time.time()
    given = 0

    async def next_token() -> str:
        nonlocal given
        given += 1
        return bucket.token(file.object_name, age_s=1000 - 10 * given)

    async def expire(answer: httpx.Response) -> None:
        if answer.request.method == "PATCH" and answer.is_success:
            expired_until = begun_at - 1000 + 10 * given + 5
            bucket.rig.tus.fault(expire_tokens_before=expired_until)

    await bucket.upload(file, token=next_token, on_answer=expire)

    assert given == 6, "one for each chunk"
    assert bucket.calls("POST") == 1
    assert bucket.content(file) == file.path.read_bytes()


async def test_tokens_that_are_all_expired_end_it_with_a_word_on_the_clock(bucket: Bucket) -> None:
    file = bucket.file()

    async def old_token() -> str:
        return bucket.token(file.object_name, age_s=7300)

    with pytest.raises(SupabaseUnauthorized, match="clock"):
        await bucket.upload(file, token=old_token)


@pytest.mark.parametrize("death", ["half", "complete", "recorded"])
async def test_a_server_killed_in_the_last_patch_costs_no_byte_of_the_object(
    bucket: Bucket, death: str
) -> None:
    file, tus = bucket.file(chunks=3.5), bucket.rig.tus
    tus.fault(die_in_last_patch=death)

    uploading = asyncio.create_task(bucket.upload(file))
    await asyncio.to_thread(tus.wait_until_dead)
    assert bucket.is_there(file) == (death == "recorded")
    assert not uploading.done()
    tus.start()
    await uploading

    assert bucket.content(file) == file.path.read_bytes()
    assert bucket.calls("POST") == 1


async def test_a_server_that_forgets_what_a_leaving_client_sent_gets_it_once_more(
    bucket: Bucket,
) -> None:
    file, tus = bucket.file(chunks=2.5), bucket.rig.tus
    tus.fault(finish_delay_s=1.0, forget_when_client_leaves=True)
    direct = f"{tus.url}/storage/v1/upload/resumable/sign"
    hasty = replace(FAST, last_patch_timeout_s=0.3)

    uploading = asyncio.create_task(bucket.upload(file, hasty, endpoint=direct))
    await _until(lambda: max(tus.offsets().values(), default=0) == file.path.stat().st_size)
    await _until(lambda: max(tus.offsets().values(), default=0) == 0)
    tus.fault()
    await uploading

    assert bucket.content(file) == file.path.read_bytes()


async def test_the_last_patch_is_answered_before_a_cancelled_upload_ends(bucket: Bucket) -> None:
    file, tus = bucket.file(chunks=2.5), bucket.rig.tus
    tus.fault(finish_delay_s=0.5, forget_when_client_leaves=True)
    direct = f"{tus.url}/storage/v1/upload/resumable/sign"

    uploading = asyncio.create_task(bucket.upload(file, endpoint=direct))
    await _until(lambda: max(tus.offsets().values(), default=0) == file.path.stat().st_size)
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading

    assert bucket.content(file) == file.path.read_bytes()
    begun = await FileLedger(bucket.ledger_path).find(file.object_name)
    assert begun is not None and begun.is_complete


async def test_a_cancelled_upload_stops_at_once_before_its_last_patch(bucket: Bucket) -> None:
    file = bucket.file(chunks=5.5)
    bucket.rig.faults.add(method="PATCH", path=UPLOADS, skip=2, times=1, hang=True)
    uploading = asyncio.create_task(bucket.upload(file))
    await _until(lambda: any(progress.sent_bytes >= 3 * CHUNK for progress in bucket.seen))
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(uploading, 2)
    assert not bucket.is_there(file)


@pytest.mark.parametrize("gone", [True, False], ids=["410", "404"])
async def test_an_upload_url_that_has_expired_is_replaced(bucket: Bucket, gone: bool) -> None:
    file = await _half_uploaded(bucket)
    bucket.rig.tus.forget_uploads(gone=gone)
    await bucket.upload(file)
    assert bucket.calls("POST") == 2
    assert bucket.content(file) == file.path.read_bytes()


async def test_a_server_away_for_too_long_is_said_and_the_rest_goes_up_later(
    bucket: Bucket,
) -> None:
    file = await _half_uploaded(bucket)
    before = bucket.calls("PATCH")
    await bucket.upload(file)
    assert bucket.calls("POST") == 1
    assert bucket.calls("PATCH") - before == 4, "two of six chunks were there"
    assert bucket.content(file) == file.path.read_bytes()


async def test_only_time_without_a_byte_counts_against_a_server(bucket: Bucket) -> None:
    bucket.rig.tus.fault(patch_delay_s=0.3)
    bucket.rig.faults.add(method="PATCH", path=UPLOADS, skip=4, times=2, status=503)
    file = bucket.file(chunks=5.5)
    await bucket.upload(file, replace(FAST, patience_s=1.2))
    assert bucket.content(file) == file.path.read_bytes()


async def test_a_process_killed_in_the_middle_is_gone_on_with(bucket: Bucket) -> None:
    file = bucket.file(chunks=8)
    bucket.rig.tus.fault(patch_delay_s=0.15)
    uploader = await _uploader(bucket, file.object_name)
    await _until(lambda: max(bucket.rig.tus.offsets().values(), default=0) >= 3 * CHUNK)
    uploader.send_signal(signal.SIGKILL)
    await uploader.wait()
    bucket.rig.tus.fault()

    await bucket.upload(file)

    assert bucket.calls("POST") == 0
    assert bucket.calls("PATCH") <= 5
    assert bucket.content(file) == file.path.read_bytes()


async def test_a_file_that_changed_since_is_not_gone_on_with(bucket: Bucket) -> None:
    file = await _half_uploaded(bucket)
    content = bytearray(file.path.read_bytes())
    content[7] ^= 1
    file.path.write_bytes(content)
    with pytest.raises(IntegrityError, match="has changed"):
        await bucket.upload(file)
    assert not bucket.is_there(file)


async def test_a_file_that_changes_on_the_way_never_becomes_an_object(bucket: Bucket) -> None:
    file = bucket.file(chunks=5.5)

    async def change_after_two(answer: httpx.Response) -> None:
        if answer.headers.get("Upload-Offset") == str(2 * CHUNK):
            with file.path.open("r+b") as opened:
                opened.write(b"other")

    with pytest.raises(IntegrityError, match="changed while"):
        await bucket.upload(file, on_answer=change_after_two)
    assert not bucket.is_there(file)


async def test_another_file_than_was_meant_is_not_sent(bucket: Bucket) -> None:
    file = replace(bucket.file(), sha256="0" * 64)
    with pytest.raises(IntegrityError, match="nothing was uploaded"):
        await bucket.upload(file)
    assert bucket.calls("POST") == 0


async def test_a_file_above_the_bucket_s_limit_is_refused_with_the_way_out(bucket: Bucket) -> None:
    bucket.rig.execute("update storage.buckets set file_size_limit = 1000 where id = $1", BUCKET)
    with pytest.raises(SupabaseRefused, match=r"size limit.*50 MB"):
        await bucket.upload(bucket.file())
    assert bucket.calls("POST") == 1


async def test_a_bucket_that_is_not_there_is_named(bucket: Bucket) -> None:
    bucket.rig.execute("delete from storage.buckets where id = $1", BUCKET)
    with pytest.raises(SupabaseRefused, match="supabase migrate"):
        await bucket.upload(bucket.file())


async def test_a_token_for_another_object_is_no_token(bucket: Bucket) -> None:
    file = bucket.file()

    async def others() -> str:
        return bucket.token("jobs/some-job/other")

    with pytest.raises(SupabaseUnauthorized, match="Invalid signature"):
        await bucket.upload(file, token=others)


async def test_a_server_that_never_says_complete_is_believed_by_what_reads_back(
    bucket: Bucket,
) -> None:
    file = bucket.file()

    async def size_there() -> int | None:
        return len(bucket.content(file)) if bucket.is_there(file) else None

    await bucket.upload(file, on_answer=_without("Tus-Complete"), read_back=size_there)
    assert bucket.content(file) == file.path.read_bytes()


async def test_all_bytes_sent_is_no_success_by_itself(bucket: Bucket) -> None:
    impatient = replace(FAST, patience_s=0.5)
    with pytest.raises(SupabaseUnreachable, match="complete"):
        await bucket.upload(bucket.file(), impatient, on_answer=_without("Tus-Complete"))


async def test_the_token_goes_to_no_other_host(bucket: Bucket) -> None:
    async def elsewhere(answer: httpx.Response) -> None:
        if location := answer.headers.get("Location"):
            path = httpx.URL(location).path
            answer.headers["Location"] = f"http://elsewhere.invalid{path}"

    file = bucket.file()
    await bucket.upload(file, on_answer=elsewhere)
    assert bucket.content(file) == file.path.read_bytes()


async def test_the_ledger_holds_no_token(bucket: Bucket) -> None:
    file = await _half_uploaded(bucket)
    kept = bucket.ledger_path.read_text()
    assert file.object_name in kept
    assert bucket.token(file.object_name).split(".")[0] not in kept


async def _half_uploaded(bucket: Bucket) -> UploadSource:
    """Two of six chunks are there, and the server was away for too long."""
    file = bucket.file(chunks=5.5)
    bucket.rig.faults.add(method="PATCH", path=UPLOADS, skip=2, times=None, status=503)
    with pytest.raises(SupabaseUnreachable, match="goes on when it is tried again"):
        await bucket.upload(file, replace(FAST, patience_s=0.3))
    bucket.rig.faults.clear()
    return file


def _without(header: str) -> Callable[[httpx.Response], Awaitable[None]]:
    async def hide(answer: httpx.Response) -> None:
        answer.headers.pop(header, None)

    return hide


async def _uploader(bucket: Bucket, object_name: str) -> asyncio.subprocess.Process:
    """Another process that uploads the same file."""
    program = (
        "import asyncio, sys, httpx\n"
        "from pathlib import Path\n"
        "from shared.upload.client import UploadSettings, upload_file\n"
        "from shared.upload.file import UploadSource\n"
        "from shared.upload.ledger import FileLedger\n"
        "endpoint, path, name, bucket, ledger, token, chunk = sys.argv[1:]\n"
        "async def next_token():\n"
        "    return token\n"
        "async def main():\n"
        "    async with httpx.AsyncClient() as http:\n"
        "        await upload_file(http, endpoint, UploadSource(Path(path), name, bucket),\n"
        "            FileLedger(Path(ledger)), next_token,\n"
        "            settings=UploadSettings(chunk_bytes=int(chunk)))\n"
        "asyncio.run(main())\n"
    )
    path = bucket.directory / "adapter_model.safetensors"
    arguments = [bucket.endpoint, str(path), object_name, BUCKET, str(bucket.ledger_path)]
    arguments += [bucket.token(object_name), str(CHUNK)]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *arguments, env=dict(os.environ)
    )


async def _until(holds: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)
