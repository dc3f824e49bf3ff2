"""The console in a real terminal: keys go in through a pty, and an emulator shows the screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import pexpect
import pyte

_START = "from tui.cli import main; main()"


class Terminal:
    """`with Terminal(environ, "jobs") as terminal:`; what still runs at the end is killed."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *arguments: str,
        columns: int = 120,
        lines: int = 36,
    ) -> None:
        self.bytes = b""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._process = pexpect.spawn(
            sys.executable,
            ["-c", _START, *arguments],
            env={**environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            dimensions=(lines, columns),
            timeout=None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.close(force=True)

    @property
    def text(self) -> str:
        """The screen as a person sees it now."""
        return "\n".join(self._screen.display)

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def press(self, keys: str) -> None:
        """Type; control keys as the bytes that a terminal sends."""
        self._process.send(keys)

    def resize(self, columns: int, lines: int) -> None:
        """The window is drawn larger or smaller."""
        self._screen.resize(lines, columns)
        self._process.setwinsize(lines, columns)

    def until(self, condition: Callable[[], bool], timeout_s: float = 40) -> None:
        """Read until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not seen in {timeout_s} s:\n{self.text}"
            assert self._read() or self._process.isalive(), f"it has ended:\n{self.text}"

    def until_seen(self, *words: str, timeout_s: float = 40) -> None:
        """Read until all these words stand on the screen at once."""
        self.until(lambda: all(word in self.text for word in words), timeout_s)

    def until_gone(self) -> int:
        """Read to the end of the process; returns its exit code."""
        deadline = time.monotonic() + 20
        while self._read() or self._process.isalive():
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        self._process.close()
        return int(self._process.exitstatus)

    def _read(self) -> bool:
        try:
            read = self._process.read_nonblocking(65_536, timeout=0.1)
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            return False
        self.bytes += read
        self._stream.feed(read)
        return True
