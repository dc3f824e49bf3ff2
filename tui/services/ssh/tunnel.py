"""One SSH connection to one host that comes back by itself, and the way through it to the agent.

A local Unix socket leads to the agent's socket over there for as long as there is a connection; a
new connection makes it lead there again, so whoever speaks to the agent only has to try again.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from shared.errors import AgentError, HostUnreachable
from tui.services.ssh.asker import may_ask
from tui.services.ssh.failures import translated

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0
_REFUSED_PAUSE_S = 300.0
"""Where trying again mends nothing, and many tries may lock the user out."""
_HANDSHAKE_TIMEOUT_S = 15.0

Connect = Callable[[], Awaitable[asyncssh.SSHClientConnection]]


@dataclass(frozen=True, slots=True)
class _Goal:
    socket: str
    relay_command: str


class Tunnel:
    """Close it when done. Its errors are those of `connect`, and HostUnreachable."""

    def __init__(self, label: str, connect: Connect) -> None:
        self._label = label
        self._connect = connect
        self._directory: Path | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._failure: AgentError | None = None
        self._failures = 0
        self._next_try_at = 0.0
        self._goal: _Goal | None = None
        self._listener: asyncssh.SSHListener | asyncio.Server | None = None

    @property
    def trouble(self) -> str:
        """Why there is no connection now; empty if there is one."""
        if self._connection is not None:
            return ""
        return str(self._failure) if self._failure else f"{self._label}: the connection was lost."

    @property
    def socket(self) -> Path:
        """The local end; short, and in a directory that is this user's alone."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="brightrun-"))
        return self._directory / "agent.sock"

    async def connection(self) -> asyncssh.SSHClientConnection:
        """The connection, made now if there is none.

        After a failure the next try waits its time, and until then this raises what was wrong; a
        person who is there to be asked waits for nothing.
        """
        async with self._connecting:
            if self._connection is None:
                self._raise_if_too_early()
                try:
                    self._connection = await self._opened()
                except AgentError as error:
                    self._note(error)
                    raise
                self._failure, self._failures = None, 0
                if self._keeper is None:
                    # In a context of its own: what it does was not asked for by a person.
                    self._keeper = asyncio.create_task(self._keep(), context=Context())
            return self._connection

    async def lead_to(self, agent_socket: str, relay_command: str) -> None:
        """Have the local socket lead to the agent's, over this connection and every later one.

        `relay_command` does it over there where sshd forwards nothing.
        """
        connection = await self.connection()
        async with self._connecting:
            self._goal = _Goal(agent_socket, relay_command)
            await self._listen(connection, self._goal)

    async def close(self) -> None:
        """Let go; what runs over there goes on."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        self._stop_listening()
        if self._connection is not None:
            self._connection.close()
            with suppress(TimeoutError, OSError, asyncssh.Error):
                async with asyncio.timeout(1):
                    await self._connection.wait_closed()
            self._connection.abort()
            self._connection = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def _opened(self) -> asyncssh.SSHClientConnection:
        connection = await self._connect()
        try:
            with translated(self._label):
                # sshd sets TCP_NODELAY once a session has begun: without one, what is forwarded
                # waits 40 ms at its end (Nagle's algorithm).
                async with asyncio.timeout(_HANDSHAKE_TIMEOUT_S):
                    await connection.run("exit 0", check=False)
                if self._goal is not None:
                    await self._listen(connection, self._goal)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _listen(self, connection: asyncssh.SSHClientConnection, goal: _Goal) -> None:
        self._stop_listening()
        path = str(self.socket)
        with translated(self._label):
            if await self._can_forward(connection, goal.socket):
                self._listener = await connection.forward_local_path(path, goal.socket)
            else:
                relay = _Relay(connection, goal.relay_command)
                self._listener = await asyncio.start_unix_server(relay.serve, path)

    @staticmethod
    async def _can_forward(connection: asyncssh.SSHClientConnection, socket: str) -> bool:
        """Whether sshd lets us through; that the agent is gone looks the same from here.

        Then nobody answers at the end of the relay either, and the agent is looked for again.
        """
        try:
            _, writer = await connection.open_unix_connection(socket)
        except asyncssh.ChannelOpenError:
            return False
        writer.close()
        return True

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._directory is not None:
            self.socket.unlink(missing_ok=True)

    async def _keep(self) -> None:
        """Wait for the connection's end and make a new one, for as long as the tunnel is open."""
        while True:
            if self._connection is not None:
                await self._connection.wait_closed()
                self._connection = None
                self._stop_listening()
            with suppress(AgentError):
                await self.connection()
                continue
            await asyncio.sleep(max(0.0, self._next_try_at - asyncio.get_running_loop().time()))

    def _raise_if_too_early(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._failure is not None and now < self._next_try_at and not may_ask():
            raise self._failure.with_traceback(None)

    def _note(self, failure: AgentError) -> None:
        self._failure = failure
        self._failures += 1
        pause_s = min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
        if not isinstance(failure, HostUnreachable):
            pause_s = _REFUSED_PAUSE_S
        # Jitter, so that consoles that lost one host do not come back in step.
        pause_s *= random.uniform(0.5, 1.0)
        self._next_try_at = asyncio.get_running_loop().time() + pause_s


class _Relay:
    """Serves local connections by a program over there, where sshd forwards no sockets.

    Each takes one of the sessions that sshd allows on a connection (MaxSessions, 10 by default).
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, command: str) -> None:
        self._connection = connection
        self._command = command

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end; one that cannot be carried is closed."""
        with suppress(asyncssh.Error, OSError):
            async with self._connection.create_process(
                self._command,
                stdin=reader,
                stdout=writer,
                stderr=asyncssh.DEVNULL,
                encoding=None,
            ) as process:
                await process.wait_closed()
        writer.close()
