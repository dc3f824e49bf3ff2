"""The two questions that a connection may have for a person; imports nothing heavy."""

from __future__ import annotations

from typing import Protocol


class Asker(Protocol):
    """Whoever can ask: a command on a terminal, or the console with a dialog."""

    async def trust_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Whether the machine with this key may be trusted from now on."""
        ...

    async def passphrase(self, key_path: str) -> str | None:
        """What unlocks the key; None: the person does not want to say."""
        ...
