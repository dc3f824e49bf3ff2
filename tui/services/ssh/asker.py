"""The two questions that a connection may have for a person; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

_may_ask = ContextVar("may_ask", default=False)


@contextmanager
def asking() -> Iterator[None]:
    """What is done inside was asked for by a person, who may be asked in turn."""
    token = _may_ask.set(True)
    try:
        yield
    finally:
        _may_ask.reset(token)


def may_ask() -> bool:
    """False where nobody has just asked for anything, such as a connection that comes back."""
    return _may_ask.get()


class Asker(Protocol):
    """Whoever can ask: a command on a terminal, or the console with a dialog."""

    async def trust_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Whether the machine with this key may be trusted from now on."""
        ...

    async def passphrase(self, key_path: str) -> str | None:
        """What unlocks the key; None: the person does not want to say."""
        ...
