from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, unix_serve

RELAY = (sys.executable, "-P", "-m", "agent.relay")


@asynccontextmanager
async def relay(path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*RELAY, str(path), stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(10):
        return await process.wait()


async def test_a_websocket_goes_through_it_both_ways(tmp_path: Path) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    ours, theirs = socket.socketpair()
    large = "x" * 500_000
    async with unix_serve(echo, str(tmp_path / "agent.sock")):
        process = await asyncio.create_subprocess_exec(
            *RELAY, str(tmp_path / "agent.sock"), stdin=theirs, stdout=theirs
        )
        theirs.close()
        async with connect("ws://agent/", sock=ours) as connection:
            for message in ("hello", large):
                await connection.send(message)
                assert await connection.recv() == message
        assert await ended(process) == 0


async def test_the_end_of_stdin_reaches_the_server_and_its_answer_still_comes(
    tmp_path: Path,
) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(str(len(await reader.read())).encode())
        writer.close()

    async with (
        await asyncio.start_unix_server(count, tmp_path / "socket"),
        relay(tmp_path / "socket") as process,
    ):
        output, _ = await asyncio.wait_for(process.communicate(b"x" * 300_000), 10)
    assert (output, process.returncode) == (b"300000", 0)


async def test_it_ends_when_the_server_goes_away_although_stdin_stays_open(tmp_path: Path) -> None:
    connected: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set_result(writer)

    async with (
        await asyncio.start_unix_server(serve, tmp_path / "socket"),
        relay(tmp_path / "socket") as process,
    ):
        (await connected).transport.abort()
        assert await ended(process) == 0


async def test_it_ends_when_nobody_reads_its_stdout_any_more(tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    server.listen()
    process = subprocess.Popen(
        [*RELAY, str(tmp_path / "socket")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with server, process:
        assert process.stdout is not None
        connection, _ = await asyncio.to_thread(server.accept)
        with connection:
            process.stdout.close()
            assert await asyncio.to_thread(process.wait, 10) == 0


async def test_where_nobody_listens_it_says_so(tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [*RELAY, str(tmp_path / "none")], capture_output=True, text=True, timeout=10
    )
    assert done.returncode == 69
    assert done.stderr == f"brightrun relay: {tmp_path / 'none'}: No such file or directory\n"


def test_it_imports_nothing_but_the_standard_library() -> None:
    code = "import sys, agent.relay; print(*(m for m in sys.modules if m.startswith('shared')))"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append('.'); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
