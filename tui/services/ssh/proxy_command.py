"""The command that ProxyCommand puts between us and the server, as a process with a socket.

asyncssh could start it, but would split it without a shell, and would take what it complains of
for what the server says.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from contextlib import suppress
from typing import IO, Self

from shared.clean_text import clean_line

_LONGEST_COMPLAINT = 300
_DEATH_TIMEOUT_S = 1.0


class ProxyCommand:
    """What asyncssh calls a tunnel: a connection that is given it closes it when it ends."""

    def __init__(
        self, process: subprocess.Popen[bytes], ours: socket.socket, stderr: IO[bytes]
    ) -> None:
        self.socket = ours
        """Its stdin and stdout."""
        self.complaint = ""
        """The last line that it wrote to stderr; known once it is closed."""
        self._process = process
        self._stderr = stderr

    @classmethod
    def start(cls, command: str) -> Self:
        """Run it by a shell, as OpenSSH does."""
        ours, theirs = socket.socketpair()
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  (`close` closes it)
        try:
            with theirs:
                # Not asyncio's: a process whose loop has ended would be collected by nobody.
                process = subprocess.Popen(
                    ["/bin/sh", "-c", f"exec {command}"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=stderr,
                    start_new_session=True,  # Ctrl-C here must not reach it.
                )
        except BaseException:
            ours.close()
            stderr.close()
            raise
        ours.setblocking(False)
        return cls(process, ours, stderr)

    def close(self) -> None:
        """Kill it, unless it has ended. Twice is as good as once."""
        if self._stderr.closed:
            return
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        self.complaint = clean_line(lines[-1])[:_LONGEST_COMPLAINT] if lines else ""
        self._stderr.close()
        self.socket.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # such as one that waits for a dead network drive
            self._process.wait(_DEATH_TIMEOUT_S)

    async def wait_closed(self) -> None:
        """`close` has seen to it; asyncssh asks for this all the same."""
