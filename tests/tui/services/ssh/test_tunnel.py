"""A connection that comes back by itself, over a real OpenSSH server that runs as this user."""

from __future__ import annotations

import asyncio
import getpass
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import asyncssh
import pytest

from shared.errors import AgentError, HostUnreachable, SshRefused
from tests.remote.sshd import NO_SSHD, SSHD, OpenSshServer, make_key
from tui.services.ssh.asker import asking
from tui.services.ssh.tunnel import Tunnel

pytestmark = pytest.mark.skipif(SSHD is None, reason=NO_SSHD)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSshServer]:
    with OpenSshServer(tmp_path_factory.mktemp("sshd")).running() as running:
        running.authorize(getpass.getuser(), make_key(running.directory / "id"))
        yield running


class Way:
    """How a tunnel connects: to the server, unless the test says otherwise."""

    def __init__(self, server: OpenSshServer) -> None:
        self._server = server
        self.tries = 0
        self.failures: list[AgentError] = []
        self.made: list[asyncssh.SSHClientConnection] = []

    async def connect(self) -> asyncssh.SSHClientConnection:
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        made = await asyncssh.connect(
            "127.0.0.1",
            self._server.port,
            username=getpass.getuser(),
            client_keys=[str(self._server.directory / "id")],
            known_hosts=None,
            config=None,
            agent_path=None,
        )
        self.made.append(made)
        return made


@pytest.fixture
def way(server: OpenSshServer) -> Way:
    return Way(server)


@pytest.fixture
async def tunnel(way: Way) -> AsyncIterator[Tunnel]:
    made = Tunnel("ssh:box", way.connect)
    yield made
    await made.close()


@asynccontextmanager
async def shouting(path: Path) -> AsyncIterator[None]:
    """A server on a Unix socket that gives back in capitals what it is sent."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while line := await reader.readline():
            writer.write(line.upper())
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        for writer in writers:  # Those who are still connected are not waited for.
            writer.close()
        closed = (writer.wait_closed() for writer in writers)
        await asyncio.gather(*closed, return_exceptions=True)


async def asked_through(tunnel: Tunnel, text: bytes) -> bytes:
    """The answer, as soon as somebody can be asked."""
    async with asyncio.timeout(20):
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(tunnel.socket)
                with closing(writer):
                    writer.write(text + b"\n")
                    if answer := await reader.readline():
                        return answer.strip()
            await asyncio.sleep(0.02)


async def test_the_local_socket_leads_to_the_one_over_there_and_is_private(
    tunnel: Tunnel, tmp_path: Path
) -> None:
    async with shouting(tmp_path / "agent.sock"):
        await tunnel.lead_to(str(tmp_path / "agent.sock"), "false")

        assert await asked_through(tunnel, b"hello") == b"HELLO"
        assert stat.S_IMODE(tunnel.socket.parent.stat().st_mode) == 0o700
        assert len(str(tunnel.socket)) < 100  # of 107 bytes that a socket's address may have


async def test_after_a_loss_the_connection_comes_back_and_leads_to_the_same_place(
    tunnel: Tunnel, way: Way, tmp_path: Path
) -> None:
    async with shouting(tmp_path / "agent.sock"):
        await tunnel.lead_to(str(tmp_path / "agent.sock"), "false")
        way.failures = [HostUnreachable("not yet"), HostUnreachable("not yet")]
        way.made[0].abort()
        await way.made[0].wait_closed()

        assert await asked_through(tunnel, b"again") == b"AGAIN"

    assert way.tries == 4
    assert tunnel.trouble == ""


async def test_it_says_why_there_is_no_connection(tunnel: Tunnel, way: Way) -> None:
    way.failures = [HostUnreachable("ssh:box: the cable is out.")]
    with pytest.raises(HostUnreachable, match="the cable is out"):
        await tunnel.connection()

    assert tunnel.trouble == "ssh:box: the cable is out."


async def test_many_who_want_the_connection_make_one(tunnel: Tunnel, way: Way) -> None:
    connections = await asyncio.gather(*(tunnel.connection() for _ in range(8)))

    assert len(set(map(id, connections))) == 1
    assert way.tries == 1


async def test_after_a_refusal_nobody_tries_again_unless_a_person_asks_for_it(
    tunnel: Tunnel, way: Way
) -> None:
    way.failures = [SshRefused("the server accepts none of your keys")]
    for _ in range(3):
        with pytest.raises(SshRefused, match="none of your keys"):
            await tunnel.connection()
    assert way.tries == 1

    with asking():
        await tunnel.connection()
    assert way.tries == 2


async def test_a_closed_tunnel_leaves_nothing(way: Way) -> None:
    tunnel = Tunnel("ssh:box", way.connect)
    await tunnel.lead_to("/nowhere/agent.sock", "false")
    directory = tunnel.socket.parent
    await tunnel.close()

    assert not directory.exists()
    assert way.made[0].is_closed()
