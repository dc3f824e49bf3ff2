"""Signals that end a process, made to end the app instead, so that the terminal is restored.

Upstream handles none of them (textual 8.2.8, 2026-11): after `kill -TERM` the terminal stays raw,
in its alternate screen, without a cursor, and reports every move of the mouse.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from textual.app import App

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
GRACE_S = 5.0
"""An app that has not ended by then is stuck, or its terminal is; it is left without ceremony."""
_POLL_S = 0.05
RESTORING = (
    "\x1b[?2004l\x1b[?7h\x1b[?2048l"  # bracketed paste, line wrap, resizes in band
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # mouse
    "\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"  # kitty's keyboard, alternate screen, cursor, focus
)
"""What `LinuxDriver.stop_application_mode` writes, in its order."""


@contextmanager
def ended_by_signals(app: App[Any]) -> Iterator[None]:
    """Around `App.run`: SIGHUP, SIGINT and SIGTERM end it with 128 + their number.

    A thread is told by the interpreter's wakeup descriptor: a Python handler, asyncio's included,
    waits for the main thread, and that one may be busy, or not be the thread that was interrupted.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    over = threading.Event()
    waiting = threading.Thread(
        target=_wait_for_signals, args=(app, receiver, over), name="signals", daemon=True
    )
    waiting.start()
    wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _leave_to_the_thread) for number in ENDING}
    try:
        yield
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        sender.close()
        waiting.join()
        receiver.close()


def _leave_to_the_thread(number: int, frame: FrameType | None) -> None:
    """Without a handler of Python's, nothing is written to the wakeup descriptor."""


def _wait_for_signals(app: App[Any], receiver: socket.socket, over: threading.Event) -> None:
    while numbers := receiver.recv(64):
        for number in numbers:
            if number in ENDING:
                return _end(app, 128 + number, over)


def _end(app: App[Any], return_code: int, over: threading.Event) -> None:
    deadline = time.monotonic() + GRACE_S
    is_told = False
    while True:
        loop = app._loop
        if not is_told and loop is not None:
            with suppress(RuntimeError):  # closed: the app is at its end
                loop.call_soon_threadsafe(partial(app.exit, return_code=return_code))
            is_told = True
        if over.wait(_POLL_S):
            return
        if time.monotonic() > deadline:
            _leave(app, return_code)


def _leave(app: App[Any], return_code: int) -> NoReturn:
    """Restore the terminal without the app's help, and end the process."""
    if app._loop is None:
        # The app has restored it, and only a thread of its own holds up the end.
        os._exit(return_code)
    attributes = getattr(app._driver, "attrs_before", None)
    with suppress(OSError, ValueError, AttributeError, termios.error):
        terminal = sys.__stderr__.fileno()  # type: ignore[union-attr]
        # A terminal that nobody reads would hold up this write, too.
        os.set_blocking(terminal, False)
        if attributes is not None:
            termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        os.write(terminal, RESTORING.encode())
        os.set_blocking(terminal, True)
    os._exit(return_code)
