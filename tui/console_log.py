"""Everything that would be written over the screen goes to a file while the console runs.

Warnings, log records, tracebacks of threads, and what libraries and child processes write to the
file descriptor of stderr, which no Python object sees. Textual itself swallows `print`.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

from shared.clean_text import clean
from shared.redaction import redact
from tui.terminal_encoding import substitute_on

MAX_BYTES = 1_000_000
"""Of the file and the one before it, together."""
_STDERR = 2
_MAX_LINE_BYTES = 4096
_DRAIN_TIMEOUT_S = 1.0
_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Until it ends, `path` takes what belongs on no screen; all is as before afterwards."""
    handler = _Handler(path)
    root = logging.getLogger()
    handlers, hooks = root.handlers, (threading.excepthook, sys.unraisablehook)
    with ExitStack() as stack:
        stack.callback(handler.close)
        root.handlers = [handler]
        stack.callback(setattr, root, "handlers", handlers)
        logging.captureWarnings(True)
        stack.callback(logging.captureWarnings, False)
        threading.excepthook, sys.unraisablehook = _log_thread_error, _log_unraisable
        stack.callback(setattr, threading, "excepthook", hooks[0])
        stack.callback(setattr, sys, "unraisablehook", hooks[1])
        stack.enter_context(_stray_output_logged())
        yield


class _Handler(logging.handlers.RotatingFileHandler):
    """Makes its file when there is something to write; never complains on the screen."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_BYTES // 2, backupCount=1, encoding="utf-8", delay=True)
        self.setFormatter(_Formatter(_FORMAT))

    def _open(self) -> TextIOWrapper:
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return open(descriptor, "a", encoding="utf-8", errors="replace")

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk or a read-only home costs the log, not the console."""


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(clean(super().format(record)))


def _log_thread_error(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread is not None else "unknown"
    _log_exception(f"thread {name} ended with an error", args.exc_value)


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if unraisable.exc_value is not None:
        message = unraisable.err_msg or "an error that nobody could catch"
        _log_exception(message, unraisable.exc_value)


def _log_exception(message: str, error: BaseException) -> None:
    logging.getLogger("brightrun").error(message, exc_info=error)


@contextmanager
def _stray_output_logged() -> Iterator[None]:
    """Descriptor 2 leads into the log; `sys.stderr`, on which Textual draws, to the terminal.

    Descriptor 1 stays: Textual asks it for the terminal's size.
    """
    before = sys.stderr, sys.__stderr__
    encoding = getattr(sys.__stderr__, "encoding", None)
    read_end, write_end = os.pipe()
    reader = threading.Thread(target=_log_lines, args=(read_end,), daemon=True)
    reader.start()
    terminal = os.fdopen(os.dup(_STDERR), "w", encoding=encoding, errors="backslashreplace")
    substitute_on(terminal)
    os.dup2(write_end, _STDERR)
    os.close(write_end)
    sys.stderr = sys.__stderr__ = terminal  # type: ignore[misc]
    try:
        yield
    finally:
        sys.stderr, sys.__stderr__ = before  # type: ignore[misc]
        os.dup2(terminal.fileno(), _STDERR)
        with suppress(OSError):  # the terminal may be gone, and with it what it has not read
            terminal.close()
    # A child that goes on holds the pipe open; then the thread ends with this process.
    reader.join(_DRAIN_TIMEOUT_S)


def _log_lines(descriptor: int) -> None:
    logger = logging.getLogger("brightrun.stderr")
    with open(descriptor, "rb") as lines:
        while line := lines.readline(_MAX_LINE_BYTES):
            logger.warning("%s", line.decode("utf-8", "replace").rstrip())
