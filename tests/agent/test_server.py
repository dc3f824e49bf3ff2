from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os

import pytest
import websockets

from agent.process import identify
from shared.agent_protocol import PROTOCOL_VERSION
from shared.lifecycle import JobStatus

JOB = "/training/jobs/job-one"


@pytest.fixture
async def agent(pod):
    """A running agent, with the client of somebody who knows the token."""
    await pod.start_agent()
    async with pod.client() as client:
        yield client


async def start(pod, client, notes="", **changes):
    return await client.post(
        "/training/start", json={"job": pod.spec(notes, **changes).model_dump(mode="json")}
    )


async def test_health_says_who_answers(pod, agent):
    health = (await agent.get("/health")).json()
    address = pod.address()
    assert (health["pid"], health["running"]) == (address.pid, [])
    assert health["protocol"] == PROTOCOL_VERSION
    assert health["root"] == str(pod.root.path)
    assert address.start_time == identify(address.pid).start_time
    assert os.stat(pod.root.address_path).st_mode & 0o777 == 0o600
    assert os.stat(pod.root.token_path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(address.socket)).st_mode & 0o777 == 0o700
    assert len(address.socket) <= 107


async def test_every_method_wants_token_host_and_no_origin(pod, agent):
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    paths = ["/health", "/training/start", JOB, "/openapi.json", "/nowhere"]
    good = pod.authorization()
    refused = [
        (401, {}),
        (401, {"Authorization": "Bearer wrong"}),
        (401, {"Authorization": good["Authorization"].removeprefix("Bearer ")}),
        (403, {**good, "Host": "example.org"}),
        (403, {**good, "Host": "agent.example.org"}),
        (403, {**good, "Origin": "http://localhost"}),
        (403, {**good, "Origin": "null"}),
    ]
    async with pod.client(headers={}) as client:
        for method, path, (status_code, headers) in itertools.product(methods, paths, refused):
            response = await client.request(method, path, headers=headers)
            assert response.status_code == status_code, (method, path, headers)
            assert method == "HEAD" or isinstance(response.json()["detail"], str)


async def test_the_websocket_wants_token_host_and_no_origin(pod, agent):
    path = f"{JOB}/events"
    async with pod.websocket(path, headers={}) as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 4401
    good = pod.authorization()
    for address, headers in (
        ("ws://agent", {**good, "Origin": "http://localhost"}),
        ("ws://example.org", good),
    ):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.unix_connect(
                pod.address().socket, address + path, additional_headers=headers
            )
        assert refused.value.response.status_code == 403


async def test_a_job_is_started_once_and_shown(pod, agent):
    first = await start(pod, agent)
    assert (first.status_code, first.json()) == (202, {"job_id": "job-one", "created": True})
    again = await start(pod, agent)
    assert (again.status_code, again.json()["created"]) == (200, False)
    other = await start(pod, agent, "steps=9")
    assert other.status_code == 409
    shown = (await agent.get(JOB)).json()
    assert shown["job"] == pod.spec().model_dump(mode="json")
    await pod.watch(f"{JOB}/events")
    listed = (await agent.get("/training/jobs")).json()["jobs"]
    assert [job["state"]["status"] for job in listed] == [JobStatus.COMPLETED]


async def test_a_bad_request_gets_a_sentence(pod, agent):
    answers = [
        (404, await agent.get("/training/jobs/no-such-job")),
        (404, await agent.get("/nowhere")),
        (422, await agent.post("/training/start", json={"job": {"job_id": "../up"}})),
        (422, await agent.post("/training/start", content=b"{")),
        (422, await agent.get(f"{JOB}/logs?limit=0")),
    ]
    for status_code, response in answers:
        assert response.status_code == status_code
        assert isinstance(response.json()["detail"], str)


async def test_a_dataset_that_is_missing_or_changed_is_422(pod, agent):
    spec = pod.spec()
    stored = pod.root.datasets_path / spec.dataset.stored_name
    stored.write_text("other bytes")
    body = {"job": spec.model_dump(mode="json")}
    assert (await agent.post("/training/start", json=body)).status_code == 422
    stored.unlink()
    assert (await agent.post("/training/start", json=body)).status_code == 422


async def test_cancel_and_checkpoint(pod, agent):
    await start(pod, agent, "steps=1000 delay=0.05")
    async with asyncio.timeout(10):
        while (await agent.get(JOB)).json()["state"]["step"] < 2:
            await asyncio.sleep(0.05)
    assert (await agent.post(f"{JOB}/checkpoint")).status_code == 202
    cancelled = await agent.post(f"{JOB}/cancel", json={"reason": "enough"})
    assert cancelled.status_code == 202
    assert cancelled.json()["state"]["activity"] == "cancelling"
    await pod.watch(f"{JOB}/events")
    assert (await agent.post(f"{JOB}/cancel", json={"reason": ""})).status_code == 200
    assert (await agent.post(f"{JOB}/checkpoint")).status_code == 409
    assert (await agent.get(JOB)).json()["state"]["status"] == "cancelled"


async def test_logs_are_read_in_windows_from_either_end(pod, agent):
    await start(pod, agent, "flood=1000")
    await pod.watch(f"{JOB}/events")
    whole = pod.attempt(1).log_path.read_bytes()
    head = (await agent.get(f"{JOB}/logs?offset=0&limit=100")).json()
    assert head["text"] == whole[:100].decode()
    assert (head["attempt"], head["next_offset"], head["size"]) == (1, 100, len(whole))
    tail = (await agent.get(f"{JOB}/logs?offset=-30")).json()
    assert tail["next_offset"] == len(whole)
    pieces, offset = "", 0
    while offset < len(whole):
        window = (await agent.get(f"{JOB}/logs?offset={offset}&limit=777")).json()
        pieces, offset = pieces + window["text"], window["next_offset"]
    assert pieces == whole.decode()
    cut = whole.index("é".encode()) + 1
    edge = (await agent.get(f"{JOB}/logs?offset={cut - 9}&limit=9")).json()
    assert edge["next_offset"] == cut - 1
    assert (await agent.get(f"{JOB}/logs?attempt=9")).status_code == 422


async def test_the_trainer_does_not_see_the_agents_secrets(pod, agent):
    await start(pod, agent)
    await pod.watch(f"{JOB}/events")
    assert "no secret" in (await agent.get(f"{JOB}/logs")).json()["text"]


async def test_artifacts_are_listed_with_hashes_and_served_with_ranges(pod, agent):
    await start(pod, agent, "delay=0.2")
    assert (await agent.get(f"{JOB}/artifacts")).status_code == 404
    await pod.watch(f"{JOB}/events")
    listed = (await agent.get(f"{JOB}/artifacts")).json()
    assert listed["attempt"] == 1
    paths = [file["path"] for file in listed["files"]]
    assert paths == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/manifest.json",
    ]
    for file in listed["files"]:
        content = (await agent.get(f"{JOB}/artifacts/{file['path']}")).content
        assert len(content) == file["size_bytes"]
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    weights = f"{JOB}/artifacts/adapter/adapter_model.safetensors"
    part = await agent.get(weights, headers={"Range": "bytes=3-6"})
    assert (part.status_code, part.content) == (206, b"3456")
    assert part.headers["Content-Range"] == "bytes 3-6/10"
    rest = await agent.get(weights, headers={"Range": "bytes=7-"})
    assert (rest.status_code, rest.content) == (206, b"789")
    assert (await agent.get(weights, headers={"Range": "bytes=99-"})).status_code == 416


async def test_nothing_outside_the_adapter_is_served(pod, agent):
    await start(pod, agent)
    await pod.watch(f"{JOB}/events")
    adapter = pod.attempt(1).adapter_path
    (adapter / "planted.txt").symlink_to("/etc/passwd")
    manifest = json.loads((adapter / "manifest.json").read_text())
    for name in ("planted.txt", "../attempt.json", "/etc/passwd"):
        manifest["files"][name] = {"size_bytes": 1, "sha256": "0" * 64}
    (adapter / "manifest.json").write_text(json.dumps(manifest))
    attempts = [
        "attempt.json",
        "adapter/planted.txt",
        "adapter/../attempt.json",
        "adapter/%2e%2e/attempt.json",
        "adapter/..%2fattempt.json",
        "%2fetc%2fpasswd",
        "adapter//etc/passwd",
        "adapter/%2fetc%2fpasswd",
        "..%2f..%2f..%2f..%2fagent.token",
        "adapter",
        "adapter/",
        "adapter/adapter_config.json%00",
    ]
    for path in attempts:
        assert await raw_status(pod, f"{JOB}/artifacts/{path}") == 404, path


async def raw_status(pod, path):
    """The status of a request whose path no client has tidied up."""
    reader, writer = await asyncio.open_unix_connection(pod.address().socket)
    token = pod.authorization()["Authorization"]
    request = f"GET {path} HTTP/1.1\r\nHost: agent\r\nAuthorization: {token}\r\n"
    writer.write((request + "Connection: close\r\n\r\n").encode())
    status_line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(status_line.split()[1])


async def test_the_stream_replays_after_a_cursor_across_attempts(pod, agent):
    await start(pod, agent, "at=3 dies=kill")
    whole = await pod.watch(f"{JOB}/events")
    assert {record.attempt for record in whole} == {1, 2}
    cursors = [(record.attempt, record.seq) for record in whole]
    assert cursors == sorted(set(cursors))
    for index in (0, 4, len(whole) // 2, len(whole) - 2, len(whole) - 1):
        attempt, after = cursors[index]
        rest = await pod.watch(f"{JOB}/events?attempt={attempt}&after={after}")
        assert rest == whole[index + 1 :]
    assert await pod.watch(f"{JOB}/events?attempt=2&after=0") == [
        record for record in whole if record.attempt == 2
    ]


async def test_the_stream_of_an_unknown_job_closes_with_4404(pod, agent):
    async with pod.websocket("/training/jobs/no-such-job/events") as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 4404


async def test_a_client_that_never_reads_slows_nobody(pod, agent):
    await start(pod, agent, "chatter=20000 steps=6 delay=0.1")
    async with websockets.unix_connect(
        pod.address().socket,
        f"ws://agent{JOB}/events",
        additional_headers=pod.authorization(),
        max_queue=1,
        close_timeout=0.1,
    ):
        records = await asyncio.wait_for(pod.watch(f"{JOB}/events"), 20)
        assert len(records) > 20000
        state = (await agent.get(JOB)).json()["state"]
        assert state["status"] == "completed"


async def test_a_client_that_leaves_is_let_go(pod, agent):
    await start(pod, agent, "steps=1000 delay=0.05")
    agent_process = pod.agents[0]
    for _ in range(3):
        async with pod.websocket(f"{JOB}/events") as connection:
            await connection.recv()
    await agent.post(f"{JOB}/cancel", json={"reason": ""})
    await pod.watch(f"{JOB}/events")
    agent_process.terminate()
    assert await asyncio.to_thread(agent_process.wait, 10) == 0
