"""Who is turned away, as bytes on the socket: browsers, rebound names, other people's programs."""

from __future__ import annotations

import asyncio

import pytest
import websockets

JOB = "/training/jobs/job-one"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
ROUTES = [
    "/health",
    "/training/start",
    "/training/jobs",
    JOB,
    f"{JOB}/cancel",
    f"{JOB}/checkpoint",
    f"{JOB}/logs",
    f"{JOB}/artifacts",
    f"{JOB}/artifacts/adapter/manifest.json",
    f"{JOB}/events",
    "/docs",
    "/openapi.json",
    "/",
    "*",
]
REBOUND_HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "agent.evil.example:80",
    "127.0.0.1",
    "[::1]",
    "agent@evil.example",
    "",
]
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.fixture
async def running_job(pod):
    """A job in training, and the right Authorization header."""
    await pod.start_agent()
    async with pod.client() as client:
        body = {"job": pod.spec("steps=100000 delay=0.02").model_dump(mode="json")}
        assert (await client.post("/training/start", json=body)).status_code == 202
    await pod.until_step(1)
    return f"Authorization: {pod.authorization()['Authorization']}"


async def ask(pod, method, path, *headers):
    """(status, header block) of a request of exactly these lines."""
    reader, writer = await asyncio.open_unix_connection(pod.address().socket)
    try:
        body = [] if "Upgrade: websocket" in headers else ["Content-Length: 2"]
        lines = [f"{method} {path} HTTP/1.1", *headers, *body, "", "{}" if body else ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    finally:
        writer.close()
        await writer.wait_closed()
    return int(head.split()[1]), head.lower()


async def test_nothing_is_answered_or_done_without_the_token(pod, running_job):
    for method in METHODS:
        for path in ROUTES:
            status, head = await ask(pod, method, path, "Host: agent")
            assert status == 401, (method, path)
            assert "access-control" not in head
    assert not pod.root.job("job-one").cancel_path.exists()
    async with pod.client() as client:
        assert (await client.get(JOB)).json()["state"]["status"] == "training"


async def test_no_page_of_a_browser_is_answered_although_it_knew_the_token(pod, running_job):
    pages = ["Origin: http://localhost", "Origin: http://agent", "Origin: null", "Origin: file://"]
    for method in METHODS:
        for page in pages:
            status, head = await ask(pod, method, f"{JOB}/cancel", "Host: agent", running_job, page)
            assert status == 403, (method, page)
            assert "access-control" not in head
    preflight = ("Origin: http://localhost", "Access-Control-Request-Method: DELETE")
    status, head = await ask(pod, "OPTIONS", JOB, "Host: localhost", *preflight)
    assert (status, "access-control" in head) == (403, False)
    assert not pod.root.job("job-one").cancel_path.exists()


async def test_a_name_that_was_rebound_is_refused_with_and_without_the_token(pod, running_job):
    for host in REBOUND_HOSTS:
        for method in METHODS:
            for headers in ([f"Host: {host}"], [f"Host: {host}", running_job]):
                status, _ = await ask(pod, method, f"{JOB}/cancel", *headers)
                assert status == 403, (method, host)
        handshake = (f"Host: {host}", running_job, *UPGRADE)
        assert (await ask(pod, "GET", f"{JOB}/events", *handshake))[0] == 403, host
    assert not pod.root.job("job-one").cancel_path.exists()


async def test_headers_that_stand_twice_or_not_at_all_are_no_way_in(pod, running_job):
    wrong = "Authorization: Bearer wrong"
    cases = [
        (401, ["Host: agent", running_job, wrong]),
        (401, ["Host: agent", wrong, running_job]),
        (401, ["Host: agent", running_job.replace("Bearer ", "Bearer  ")]),
        (401, ["Host: agent", running_job.replace("Bearer", "Basic")]),
        (401, ["Host: agent", running_job + "x"]),
        (401, ["Host: agent", running_job[:-1]]),
        (401, ["Host: agent", f"Cookie: token={running_job.split()[-1]}"]),
        (200, ["Host: LOCALHOST:8080", running_job]),
    ]
    for expected, headers in cases:
        assert (await ask(pod, "GET", "/health", *headers))[0] == expected, headers
    for headers in (["Host: agent", "Host: evil.example", running_job], [running_job]):
        # uvicorn itself already refuses a request without exactly one Host.
        assert (await ask(pod, "GET", "/health", *headers))[0] in (400, 403), headers
    token = running_job.split()[-1]
    assert (await ask(pod, "GET", f"/health?token={token}", "Host: agent"))[0] == 401


async def test_the_websocket_opens_for_no_page_and_for_no_wrong_token(pod, running_job):
    path = f"{JOB}/events"
    for origin in ("http://localhost", "null"):
        headers = ("Host: agent", running_job, f"Origin: {origin}", *UPGRADE)
        assert (await ask(pod, "GET", path, *headers))[0] == 403
    for authorization in ({"Authorization": "Bearer wrong"}, {}):
        async with pod.websocket(path, headers=authorization) as connection:
            with pytest.raises(websockets.ConnectionClosedError):
                await connection.recv()
            assert connection.close_code == 4401
