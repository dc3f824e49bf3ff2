"""A TCP proxy on loopback that misbehaves on demand: cuts, stalls, throttles, refuses, delays.

    async with ChaosProxy(sshd.port) as proxy:
        ...connect to proxy.port...
        proxy.stall()          # connections stay open, no byte passes: a half-open link
        proxy.resume()         # what was held back passes
        proxy.cut()            # reset (RST) at both ends; new connections are accepted
        await proxy.refuse()   # nobody listens: "connection refused"; open ones live on
        await proxy.accept()   # listens again, on the same port
        proxy.bytes_per_s = 1_000.0
        proxy.latency_s = 0.25 # each way

It lives on the test's own event loop.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Self

_CHUNK_BYTES = 65_536
_MOST_HELD_CHUNKS = 64
"""Held back in each direction; beyond that the sender's own buffers fill, as on a real link."""


class ChaosProxy:
    """Serves between `__aenter__` and `__aexit__`; passes everything on unless told otherwise."""

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.port = 0
        self.latency_s = 0.0
        self.bytes_per_s: float | None = None
        """In each direction of each connection; None is no limit."""
        self.accepted = 0
        """Connections so far."""
        self.passed_bytes = 0
        """In both directions, all connections together."""
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open_count(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def stall(self) -> None:
        """Pass nothing on from now on, and tell nobody."""
        self._passing.clear()

    def resume(self) -> None:
        """Pass on again what comes, and what was held back."""
        self._passing.set()

    def cut(self) -> None:
        """Reset every connection at both ends."""
        for link in list(self._open):
            link.reset()

    async def refuse(self) -> None:
        """Accept no new connection."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Accept connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except BaseException as error:
            link = _Link(writer)
            link.reset()
            await link.closed()
            if isinstance(error, OSError):
                return
            raise
        link = _Link(writer, there_writer)
        self._open.add(link)
        carriers = [
            asyncio.create_task(self._carry(reader, there_writer)),
            asyncio.create_task(self._carry(there_reader, writer)),
        ]
        try:
            await asyncio.gather(*carriers)
        except OSError:
            link.reset()
        except asyncio.CancelledError:
            link.reset()
            raise
        finally:
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
            await link.closed()
            self._open.discard(link)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: what is read now is written `latency_s` later, in its order."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_HELD_CHUNKS)
        delivering = asyncio.create_task(self._deliver(held, writer))
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await held.put((asyncio.get_running_loop().time() + self.latency_s, data))
            await held.put((0.0, b""))
            await delivering
        finally:
            delivering.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await delivering

    async def _deliver(
        self, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_at, data = await held.get()
            await asyncio.sleep(max(0.0, due_at - loop.time()))
            await self._passing.wait()
            if not data:
                with suppress(OSError):
                    writer.write_eof()
                return
            for part in self._parts(data):
                if self.bytes_per_s is not None:
                    await asyncio.sleep(len(part) / self.bytes_per_s)
                    await self._passing.wait()
                writer.write(part)
                await writer.drain()
                self.passed_bytes += len(part)

    def _parts(self, data: bytes) -> list[bytes]:
        """Small enough for a throttled link to drip rather than to gush."""
        if self.bytes_per_s is None:
            return [data]
        size = max(1, int(self.bytes_per_s / 20))
        return [data[start : start + size] for start in range(0, len(data), size)]


class _Link:
    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers

    def reset(self) -> None:
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            with suppress(OSError):
                # Closed with a linger of 0, a socket sends RST instead of FIN.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def closed(self) -> None:
        """Close in good order what is not reset, and wait for it."""
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()
