from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.remote.proxy import ChaosProxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    open_tasks: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_tasks.add(asyncio.create_task(echo(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*open_tasks)


@asynccontextmanager
async def proxied() -> AsyncIterator[ChaosProxy]:
    async with echo_server() as port, ChaosProxy(port) as proxy:
        yield proxy


@asynccontextmanager
async def client(proxy: ChaosProxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def echoed(streams: Streams, data: bytes) -> bytes:
    reader, writer = streams
    writer.write(data)
    return await reader.readexactly(len(data))


async def test_bytes_pass_and_an_end_of_file_is_passed_on() -> None:
    async with proxied() as proxy, client(proxy) as streams:
        data = bytes(range(256)) * 1_000
        assert await echoed(streams, data) == data
        streams[1].write_eof()
        assert await streams[0].read() == b""
        assert (proxy.accepted, proxy.passed_bytes) == (1, 2 * len(data))


async def test_a_stalled_connection_stays_open_and_loses_nothing() -> None:
    async with proxied() as proxy, client(proxy) as streams:
        await echoed(streams, b"first")
        proxy.stall()
        waiting = asyncio.create_task(echoed(streams, b"second"))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        assert proxy.open_count == 1
        proxy.resume()
        assert await waiting == b"second"


async def test_a_cut_resets_both_ends_and_lets_new_connections_in() -> None:
    async with proxied() as proxy, client(proxy) as streams:
        await echoed(streams, b"first")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await streams[0].read()
        async with client(proxy) as again:
            assert await echoed(again, b"second") == b"second"


async def test_a_refusing_proxy_keeps_what_is_open_and_comes_back_on_its_port() -> None:
    async with proxied() as proxy, client(proxy) as streams:
        await echoed(streams, b"first")
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await echoed(streams, b"second") == b"second"
        await proxy.accept()
        async with client(proxy) as again:
            assert await echoed(again, b"third") == b"third"


async def test_a_throttled_link_takes_its_time() -> None:
    async with proxied() as proxy, client(proxy) as streams:
        proxy.bytes_per_s = 20_000.0
        begun = time.monotonic()
        await echoed(streams, bytes(4_000))
        assert time.monotonic() - begun >= 0.2


async def test_latency_is_added_each_way() -> None:
    async with proxied() as proxy, client(proxy) as streams:
        proxy.latency_s = 0.1
        begun = time.monotonic()
        await echoed(streams, b"x")
        assert time.monotonic() - begun >= 0.2


async def test_a_target_that_is_gone_is_a_closed_connection() -> None:
    async with echo_server() as port:
        pass
    async with ChaosProxy(port) as proxy, client(proxy) as (reader, _):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
