"""What can be done on a machine through SSH, as the installation sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Finished:
    """How a script ended."""

    exit_status: int
    stdout: str
    stderr: str


class RemoteShell(Protocol):
    """One machine; every method raises AgentUnreachable when the connection is lost."""

    async def run(self, script: str, *, timeout_s: float = 30.0) -> Finished:
        """Run a POSIX shell script, given to `sh -s` on stdin: it is in no process's arguments."""
        ...

    def lines(self, script: str, *, timeout_s: float = 1800.0) -> AsyncGenerator[str, None]:
        """Run a script and yield its stdout line by line, as it comes; stderr is joined to it.

        Raises:
            RemoteScriptFailed: it ended with another status than 0.
        """
        ...

    async def put(self, content: bytes | Path, path: str) -> None:
        """Write a file of mode 0600 over SFTP, complete or not at all; makes its directory (0700).

        A relative path begins in the user's home.
        """
        ...
