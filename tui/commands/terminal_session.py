"""A session of a command: questions go to the terminal, if a person sits at it."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from getpass import getpass
from typing import TypeVar

from shared.clean_text import clean_line
from tui.commands.steps import EMPTY_LINE
from tui.services.session import Session, open_session
from tui.services.ssh.asker import asking

_Answer = TypeVar("_Answer")


@asynccontextmanager
async def open_terminal_session(accept_host_key: str | None = None) -> AsyncIterator[Session]:
    """`open_session` for a command; `accept_host_key` is the fingerprint of a key to trust."""
    with asking():
        async with open_session(asker=terminal_asker(), accept_host_key=accept_host_key) as session:
            yield session


def terminal_asker() -> TerminalAsker | None:
    """None where no person sits at the terminal."""
    return TerminalAsker() if sys.stdin.isatty() and sys.stderr.isatty() else None


class TerminalAsker:
    """Asks on the terminal. The loop stands still meanwhile: nothing else is under way."""

    async def trust_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        name = clean_line(host)
        print(
            f"{EMPTY_LINE}{name} is not known yet. The fingerprint of its key is\n"
            f"  {clean_line(fingerprint)} ({clean_line(key_type)})\n"
            "Compare it with what the machine itself or its provider says.",
            file=sys.stderr,
        )
        sys.stderr.write("Trust it from now on? [y/N] ")
        sys.stderr.flush()
        return interruptible(input).strip().lower() in ("y", "yes")

    async def passphrase(self, key_path: str) -> str | None:
        prompt = f"{EMPTY_LINE}Passphrase of {clean_line(key_path)} (empty to give up): "
        return interruptible(lambda: getpass(prompt, stream=sys.stderr)) or None


def interruptible(ask: Callable[[], _Answer]) -> _Answer:
    """Ctrl-C ends the question, which asyncio's own handling would only note; no input is a no."""
    with _usual_interrupt():
        try:
            return ask()
        except EOFError:
            raise KeyboardInterrupt from None


@contextmanager
def _usual_interrupt() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
