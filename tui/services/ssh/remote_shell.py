"""Runs scripts and writes files on a machine, over its SSH connection."""

from __future__ import annotations

import asyncio
import posixpath
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import asyncssh

from shared.clean_text import clean_output
from shared.errors import HostUnreachable, RemoteScriptFailed
from tui.services.ssh.failures import translated
from tui.services.ssh.shell import Finished

_LAST_LINES = 20
_READ_BYTES = 1 << 20


class SshShell:
    """A `RemoteShell` over whatever connection there is at the moment."""

    def __init__(
        self, label: str, connection: Callable[[], Awaitable[asyncssh.SSHClientConnection]]
    ) -> None:
        self._label = label
        self._connection = connection

    async def run(self, script: str, *, timeout_s: float = 30.0) -> Finished:
        connection = await self._connection()
        with translated(self._label), self._within(timeout_s):
            async with asyncio.timeout(timeout_s):
                done = await connection.run(
                    "sh -s", input=_on_stdin(script), check=False, errors="replace"
                )
        status = self._status(done)
        return Finished(status, str(done.stdout or ""), str(done.stderr or ""))

    async def lines(self, script: str, *, timeout_s: float = 1800.0) -> AsyncGenerator[str, None]:
        connection = await self._connection()
        last: list[str] = []
        with translated(self._label), self._within(timeout_s):
            async with (
                asyncio.timeout(timeout_s),
                connection.create_process(
                    "sh -s", stderr=asyncssh.STDOUT, errors="replace"
                ) as process,
            ):
                process.stdin.write(_on_stdin(script))
                process.stdin.write_eof()
                async for line in process.stdout:
                    if not line:  # no line, but the end of one of the two joined streams
                        continue
                    last = [*last, line][-_LAST_LINES:]
                    yield line.rstrip("\r\n")
                done = await process.wait()
        if (status := self._status(done)) != 0:
            raise RemoteScriptFailed(status, clean_output("".join(last)))

    async def put(self, content: bytes | Path, path: str) -> None:
        await self.upload(content, path)

    async def upload(
        self,
        content: bytes | Path,
        path: str,
        check: Callable[[str], Awaitable[None]] | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """`put`, where `check` looks at the file before it gets its name, and may raise.

        `check` is given the file's path over there, `progress` the bytes sent and all bytes.
        """
        connection = await self._connection()
        part = f"{path}.{secrets.token_hex(4)}.part"
        with translated(self._label):
            async with connection.start_sftp_client() as sftp:
                await _make_directory(sftp, posixpath.dirname(path))
                try:
                    await _write(sftp, content, part, progress)
                    if check is not None:
                        await check(part)
                    await sftp.posix_rename(part, path)
                except BaseException:
                    with suppress(asyncssh.Error, OSError):
                        await sftp.remove(part)
                    raise

    async def read(self, path: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of a file over there from `offset`, in pieces.

        Raises:
            HostUnreachable: the connection is lost; SshRefused: the file cannot be read.
        """
        connection = await self._connection()
        with translated(self._label):
            async with (
                connection.start_sftp_client() as sftp,
                sftp.open(path, "rb") as file,
            ):
                await file.seek(offset)
                while chunk := await file.read(_READ_BYTES):
                    assert isinstance(chunk, bytes), "the file is open in binary mode"
                    yield chunk

    def _status(self, done: asyncssh.SSHCompletedProcess) -> int:
        """How it ended; asyncssh says nothing at all where the connection broke meanwhile."""
        if done.exit_status is None and done.exit_signal is None:
            raise HostUnreachable(f"{self._label}: the connection broke: try again.")
        return -1 if done.exit_status is None else done.exit_status

    def _within(self, timeout_s: float) -> _TooSlow:
        return _TooSlow(self._label, timeout_s)


class _TooSlow:
    """Says that a script took too long, which is not what a silent server looks like."""

    def __init__(self, label: str, timeout_s: float) -> None:
        self._label = label
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, TimeoutError):
            raise HostUnreachable(
                f"{self._label}: a command there took more than {self._timeout_s:g} s."
            ) from error


def _on_stdin(script: str) -> str:
    """The script as one function, so that no command in it reads the rest of it as its input."""
    return f"main() {{\n{script}\n}}\nmain </dev/null\n"


async def _make_directory(sftp: asyncssh.SFTPClient, path: str) -> None:
    if path and not await sftp.isdir(path):
        await sftp.makedirs(path, asyncssh.SFTPAttrs(permissions=0o700), exist_ok=True)


async def _write(
    sftp: asyncssh.SFTPClient,
    content: bytes | Path,
    path: str,
    progress: Callable[[int, int], None],
) -> None:
    private = asyncssh.SFTPAttrs(permissions=0o600)
    # Made empty and private first: nobody else can read it at any moment.
    async with sftp.open(path, "xb", private) as file:
        if isinstance(content, bytes):
            await file.write(content)
            return
    await sftp.put(
        str(content),
        path,
        progress_handler=lambda _source, _target, done, total: progress(done, total),
    )
