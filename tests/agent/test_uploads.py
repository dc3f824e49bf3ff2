"""A real agent sends a real adapter to a real TUS server."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from shared.upload.contract import UploadsAnswer, UploadState
from tests.agent.conftest import Pod
from tests.fakes.supabase.rig import SupabaseRig

BUCKET = "model-artifacts"
JOB = "/training/jobs/job-one"
WEIGHTS = "adapter/adapter_model.safetensors"
TOO_LONG = f"steps=3 weights={15 * 2**20}"
"""Its adapter needs three PATCHes of 6 MiB."""


@pytest.fixture
async def agent(pod: Pod) -> AsyncIterator[httpx.AsyncClient]:
    await pod.start_agent()
    async with pod.client() as client:
        yield client


async def test_the_adapter_goes_up_straight_from_the_machine(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    await _trained(pod, agent, "steps=3")
    rig = fresh_supabase
    listed = (await agent.get(f"{JOB}/artifacts")).json()["files"]
    files = [_asked(rig, file["path"], file["sha256"]) for file in listed]

    assert (await _ask(agent, rig, files)).status_code == 202
    answer = await _when(agent, lambda answer: answer.is_over)

    assert {file.state for file in answer.files} == {UploadState.UPLOADED}
    for file, asked in zip(listed, files, strict=True):
        content = rig.storage.bytes_of(BUCKET, asked["object_name"])
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    assert [file.sent_bytes for file in answer.files] == [file["size_bytes"] for file in listed]


async def test_nothing_goes_up_before_the_training_has_ended(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    rig = fresh_supabase
    await _start(pod, agent, "steps=1000 delay=0.02")
    await pod.until_step(3)
    checkpoint = await _checkpoint(pod, agent)
    await _ask(agent, rig, [_asked(rig, *checkpoint)])
    await pod.until_step(8)
    assert [file.state for file in (await _look(agent)).files] == [UploadState.WAITING]
    assert not [call for call in rig.requests if "resumable" in call.path]

    await agent.post(f"{JOB}/cancel", json={})
    answer = await _when(agent, lambda answer: answer.is_over)
    assert [file.state for file in answer.files] == [UploadState.UPLOADED]


async def test_a_checkpoint_goes_up_while_it_trains_where_that_was_asked_for(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    rig = fresh_supabase
    await _start(pod, agent, "steps=1000 delay=0.02")
    await pod.until_step(3)
    path, sha256 = await _checkpoint(pod, agent)
    await _ask(agent, rig, [_asked(rig, path, sha256)], while_training=True)
    await _when(agent, lambda answer: answer.files[0].state is UploadState.UPLOADED)
    assert (await agent.get(JOB)).json()["state"]["status"] == "training"


async def test_an_expired_token_is_asked_for_and_the_upload_goes_on_with_a_new_one(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    rig = fresh_supabase
    await _trained(pod, agent, TOO_LONG)
    sha256 = await _hash_of(agent, WEIGHTS)
    old = _asked(rig, WEIGHTS, sha256, age_s=100)
    rig.tus.fault(patch_delay_s=0.3)
    await _ask(agent, rig, [old])
    await _when(agent, lambda answer: answer.files[0].sent_bytes > 6 * 2**20)
    rig.tus.fault(expire_tokens_before=time.time() - 50)

    answer = await _when(agent, lambda answer: answer.is_over)
    assert answer.files[0].state is UploadState.NEEDS_TOKEN
    assert "new one" in answer.files[0].error

    await _ask(agent, rig, [_asked(rig, WEIGHTS, sha256)])
    answer = await _when(agent, lambda answer: answer.is_over)
    assert answer.files[0].state is UploadState.UPLOADED
    assert _created(rig) == 1
    _assert_whole(rig, old["object_name"], sha256)


async def test_a_killed_agent_goes_on_once_it_gets_tokens_again(
    pod: Pod, fresh_supabase: SupabaseRig
) -> None:
    rig = fresh_supabase
    first = await pod.start_agent()
    async with pod.client() as agent:
        await _trained(pod, agent, TOO_LONG)
        asked = _asked(rig, WEIGHTS, await _hash_of(agent, WEIGHTS))
        rig.tus.fault(patch_delay_s=0.5)
        await _ask(agent, rig, [asked])
        await _when(agent, lambda answer: answer.files[0].sent_bytes > 6 * 2**20)
    _kill(first)
    rig.tus.fault()

    await pod.start_agent()
    async with pod.client() as agent:
        (found,) = (await _look(agent)).files
        assert found.state is UploadState.NEEDS_TOKEN
        assert found.object_name == asked["object_name"]
        await _ask(agent, rig, [asked])
        await _when(agent, lambda answer: answer.is_over)
        assert _created(rig) == 1
        _assert_whole(rig, asked["object_name"], await _hash_of(agent, WEIGHTS))


async def test_what_is_given_up_stops_and_can_go_on_later(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    rig = fresh_supabase
    await _trained(pod, agent, TOO_LONG)
    asked = _asked(rig, WEIGHTS, await _hash_of(agent, WEIGHTS))
    rig.tus.fault(patch_delay_s=0.5)
    await _ask(agent, rig, [asked])
    await _when(agent, lambda answer: answer.files[0].sent_bytes > 6 * 2**20)
    answer = UploadsAnswer.model_validate_json((await agent.delete(f"{JOB}/uploads")).content)
    assert [file.state for file in answer.files] == [UploadState.NEEDS_TOKEN]
    rig.tus.fault()
    await _ask(agent, rig, [asked])
    await _when(agent, lambda answer: answer.files[0].state is UploadState.UPLOADED)
    assert _created(rig) == 1


async def test_a_refusal_is_told_with_its_way_out(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    rig = fresh_supabase
    await _trained(pod, agent, "steps=3")
    rig.execute("update storage.buckets set file_size_limit = 1 where id = $1", BUCKET)
    await _ask(agent, rig, [_asked(rig, WEIGHTS, await _hash_of(agent, WEIGHTS))])
    answer = await _when(agent, lambda answer: answer.is_over)
    assert answer.files[0].state is UploadState.FAILED
    assert "size limit" in answer.files[0].error


async def test_a_damaged_adapter_is_not_sent(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    rig = fresh_supabase
    await _trained(pod, agent, "steps=3")
    sha256 = await _hash_of(agent, WEIGHTS)
    (pod.attempt(1).path / WEIGHTS).write_bytes(b"other weights")
    await _ask(agent, rig, [_asked(rig, WEIGHTS, sha256)])
    answer = await _when(agent, lambda answer: answer.is_over)
    assert answer.files[0].state is UploadState.FAILED
    assert "nothing was uploaded" in answer.files[0].error


async def test_only_listed_files_and_private_endpoints_can_be_asked_for(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    await _trained(pod, agent, "steps=3")
    for path in ("../job.json", "adapter/../attempt.json", "attempt.json", "x"):
        answer = await _ask(agent, fresh_supabase, [_asked(fresh_supabase, path, "0" * 64)])
        assert answer.status_code == 404, path
    file = {"path": WEIGHTS, "object_name": "x", "token": "secret-token"}
    body = {"endpoint": "http://project.supabase.co/storage", "files": [file]}
    answer = await agent.post(f"{JOB}/uploads", json=body)
    assert answer.status_code == 422
    assert "https" in answer.json()["detail"] and "secret-token" not in answer.text


async def test_no_token_is_written_anywhere(
    pod: Pod, agent: httpx.AsyncClient, fresh_supabase: SupabaseRig
) -> None:
    rig = fresh_supabase
    await _trained(pod, agent, TOO_LONG)
    asked = _asked(rig, WEIGHTS, await _hash_of(agent, WEIGHTS))
    rig.faults.add(method="PATCH", path="resumable", times=2, status=503)
    await _ask(agent, rig, [asked])
    await _when(agent, lambda answer: answer.is_over)

    assert asked["token"] not in (await agent.get(f"{JOB}/uploads")).text
    assert (pod.root.job("job-one").path / "uploads.json").is_file()
    for path in (path for path in pod.path.rglob("*") if path.is_file()):
        assert asked["token"].encode() not in path.read_bytes(), path


async def _start(pod: Pod, agent: httpx.AsyncClient, notes: str) -> None:
    body = {"job": pod.spec(notes).model_dump(mode="json")}
    assert (await agent.post("/training/start", json=body)).status_code == 202


async def _trained(pod: Pod, agent: httpx.AsyncClient, notes: str) -> None:
    await _start(pod, agent, notes)
    async with asyncio.timeout(20):
        while (await agent.get(JOB)).json()["state"]["status"] != "completed":
            await asyncio.sleep(0.02)


async def _checkpoint(pod: Pod, agent: httpx.AsyncClient) -> tuple[str, str]:
    """Path and hash of a checkpoint's manifest, which stays although later ones come."""
    async with asyncio.timeout(20):
        while not (files := (await agent.get(f"{JOB}/uploadable")).json()["files"]):
            await asyncio.sleep(0.02)
    assert all(file["path"].startswith("checkpoints/step-0000") for file in files)
    return files[-1]["path"], files[-1]["sha256"]


async def _hash_of(agent: httpx.AsyncClient, path: str) -> str:
    listed = (await agent.get(f"{JOB}/uploadable")).json()["files"]
    return next(str(file["sha256"]) for file in listed if file["path"] == path)


def _asked(rig: SupabaseRig, path: str, sha256: str, *, age_s: float = 0) -> dict[str, Any]:
    name = f"jobs/some-job/{sha256[:16]}/{Path(path).name}"
    issued_at = int(time.time() - age_s)
    claims = {"url": f"{BUCKET}/{name}", "owner": None, "iat": issued_at, "exp": issued_at + 7200}
    token = jwt.encode(claims, rig.jwt_secret, algorithm="HS256")
    return {"path": path, "object_name": name, "token": token}


async def _ask(
    agent: httpx.AsyncClient, rig: SupabaseRig, files: list[dict[str, Any]], **more: Any
) -> httpx.Response:
    endpoint = f"{rig.url}/storage/v1/upload/resumable/sign"
    return await agent.post(f"{JOB}/uploads", json={"endpoint": endpoint, "files": files, **more})


async def _look(agent: httpx.AsyncClient) -> UploadsAnswer:
    return UploadsAnswer.model_validate_json((await agent.get(f"{JOB}/uploads")).content)


async def _when(
    agent: httpx.AsyncClient, holds: Callable[[UploadsAnswer], bool], timeout_s: float = 20
) -> UploadsAnswer:
    async with asyncio.timeout(timeout_s):
        while not holds(answer := await _look(agent)):
            await asyncio.sleep(0.02)
    return answer


def _created(rig: SupabaseRig) -> int:
    return len(rig.gateway.calls("POST", "/upload/resumable/sign"))


def _assert_whole(rig: SupabaseRig, name: str, sha256: str) -> None:
    assert hashlib.sha256(rig.storage.bytes_of(BUCKET, name)).hexdigest() == sha256


def _kill(agent: subprocess.Popen[bytes]) -> None:
    agent.kill()
    agent.wait()
