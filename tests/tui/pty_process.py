"""A process on a terminal of its own, whose every byte is kept: `pty`, without an emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from shared.clean_text import clean

SIZE = struct.pack("HHHH", 30, 100, 0, 0)
LEAVE_ALTERNATE_SCREEN = "\x1b[?1049l"
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"
DEADLINE_S = 60.0
# The terminal becomes the controlling one of the new session: hanging up sends SIGHUP.
_START = (
    "import fcntl, runpy, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); del sys.argv[0]; "
)
_START += "runpy.run_path(sys.argv[0], run_name='__main__')"


def _environ_without_size() -> dict[str, str]:
    """The size is the terminal's own; whoever runs the tests may have said another."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


class PtyProcess:
    """`with PtyProcess(script, ...) as process:`; killed in the end if it still runs."""

    def __init__(self, script: Path, *arguments: str, **environ: str) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, SIZE)
        self._attributes = termios.tcgetattr(self._slave)
        self._bytes = b""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(script), *arguments],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            env={**_environ_without_size(), "TERM": "xterm-256color", **environ},
        )

    def __enter__(self) -> PtyProcess:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)

    @property
    def output(self) -> str:
        return self._bytes.decode("utf-8", "replace")

    @property
    def last_words(self) -> str:
        """What came after the alternate screen was left, without escape sequences."""
        return clean(self.output.rpartition(LEAVE_ALTERNATE_SCREEN)[2])

    @property
    def is_restored(self) -> bool:
        """Back on the normal screen, with a cursor, and with the line discipline as before."""
        return (
            LEAVE_ALTERNATE_SCREEN in self.output
            and self.output.rfind(SHOW_CURSOR) > self.output.rfind(HIDE_CURSOR)
            and termios.tcgetattr(self._slave) == self._attributes
        )

    def read_until(self, text: str) -> None:
        self._read(lambda: text in self.output)

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        for descriptor in (self._slave, self._master):
            os.close(descriptor)
        self._master = self._slave = -1

    def wait(self) -> int:
        """The exit code, once it has ended and everything is read."""
        if self._master < 0:
            return self._process.wait(DEADLINE_S)
        self._read(lambda: self._process.poll() is not None)
        while select.select([self._master], [], [], 0)[0]:
            self._bytes += os.read(self._master, 65_536)
        return self._process.wait()

    def _read(self, is_enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_enough():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it went on: {self.output[-2000:]!r}")
            if select.select([self._master], [], [], 0.05)[0]:
                self._bytes += os.read(self._master, 65_536)
