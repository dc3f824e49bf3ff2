"""How much one caller may ask for: requests, bytes, time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx

from tests.tui.services.web_api.served import FILE, JOBS, START, WEBHOOK, is_problem, served
from tui.services.session import Session
from tui.services.web_api.rate_limit import RateLimit
from tui.services.web_api.settings import ApiSettings, Rate

LIMIT = 2**20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_as_time_goes_by() -> None:
    clock = Clock()
    limit = RateLimit(Rate(per_second=2.0, burst=3), clock)

    assert [limit.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limit.wait_s("b") == 0.0
    clock.now += 0.5
    assert [limit.wait_s("a") for _ in range(2)] == [0.0, 0.5]
    clock.now += 1000
    assert [limit.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_any_number_of_callers_is_remembered_in_bounded_memory() -> None:
    limit = RateLimit(Rate(1.0, 1), Clock(), most_callers=100)
    limit.wait_s("busy")
    for number in range(1000):
        limit.wait_s(str(number))
        limit.wait_s("busy")

    assert len(limit) == 100
    assert limit.wait_s("busy") > 0


async def test_who_asks_too_often_is_told_when_to_come_again(session: Session) -> None:
    settings = ApiSettings(port=0, token_rate=Rate(0.01, 3))
    async with served(session, settings) as api:
        busy, other = await api.token("busy"), await api.token("other")
        async with api.caller(busy) as client:
            for _ in range(3):
                assert (await client.get(JOBS)).status_code == 200
            refused = await client.get(JOBS)
        is_problem(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 100
        async with api.caller(other) as client:
            assert (await client.get(JOBS)).status_code == 200


async def test_an_address_that_asks_too_often_is_refused_before_anything_is_looked_up(
    session: Session,
) -> None:
    settings = ApiSettings(port=0, address_rate=Rate(0.01, 3))
    async with served(session, settings) as api, api.caller() as stranger:
        for _ in range(3):
            is_problem(await stranger.get(JOBS), 401)
        is_problem(await stranger.get(JOBS), 429)
        # What a caller says of an address it came from is not believed.
        forwarded = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.2"}
        is_problem(await stranger.get(JOBS, headers=forwarded), 429)


async def test_a_body_that_is_too_large_is_refused_also_where_its_size_is_not_told(
    session: Session,
) -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 65536

    async with served(session, ApiSettings(port=0)) as api:
        token = await api.token()
        for path in (START, WEBHOOK, JOBS):
            async with api.caller(token, **{"Content-Type": "application/json"}) as client:
                is_problem(await client.post(path, content=b"[" * (LIMIT + 1)), 413)
                is_problem(await client.post(path, content=chunks(17)), 413)
                is_problem(await client.post(path, content=chunks(64)), 413)


async def test_a_body_without_an_end_is_cut_off(session: Session) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    async with served(session, ApiSettings(port=0)) as api, api.caller(await api.token()) as client:
        # The answer may be lost where the connection ends while bytes are on their way.
        with contextlib.suppress(httpx.TransportError):
            is_problem(await client.post(START, content=endless()), 413)
        assert sent < 20 * LIMIT
        assert (await client.get(JOBS)).status_code == 200


async def test_the_largest_body_that_is_allowed_is_read(session: Session) -> None:
    async with served(session, ApiSettings(port=0)) as api, api.caller(await api.token()) as client:
        body = json.dumps({"training_file_id": FILE, "notes": ""}).encode()
        exact = body + b" " * (LIMIT - len(body))
        answer = await client.post(
            START, content=exact, headers={"Content-Type": "application/json"}
        )
    is_problem(answer, 404)  # There is no such file; the body was taken.


async def test_a_body_that_never_ends_does_not_hold_a_place(session: Session) -> None:
    settings = ApiSettings(port=0, body_timeout_s=0.2)
    async with served(session, settings) as api:
        token = await api.token()
        host, port = urlsplit(api.url).hostname, urlsplit(api.url).port
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(
            f"POST {START} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 10\r\n\r\n[".encode()
        )
        await writer.drain()
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_only_json_that_is_not_compressed_is_read(session: Session) -> None:
    async with served(session, ApiSettings(port=0)) as api, api.caller(await api.token()) as client:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        is_problem(await client.post(START, content=b"a=1", headers=form), 415)
        is_problem(
            await client.post(START, content=b"{}", headers={"Content-Type": "text/plain"}), 415
        )
        squeezed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        is_problem(await client.post(START, content=b"{}", headers=squeezed), 415)
        broken = {"Content-Type": "application/json"}
        is_problem(await client.post(START, content=b"{", headers=broken), 400)


async def test_beyond_so_many_requests_at_once_the_next_is_put_off(session: Session) -> None:
    settings = ApiSettings(port=0, requests_at_once=1, body_timeout_s=20)
    async with served(session, settings) as api:
        host, port = urlsplit(api.url).hostname, urlsplit(api.url).port
        _, writer = await asyncio.open_connection(host, port)
        writer.write(
            f"POST {WEBHOOK} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n".encode()
        )
        await writer.drain()
        async with api.caller(await api.token()) as client, asyncio.timeout(10):
            while (answer := await client.get(JOBS)).status_code != 503:
                await asyncio.sleep(0.02)
        is_problem(answer, 503)
        writer.close()
