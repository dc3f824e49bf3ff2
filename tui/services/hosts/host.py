"""What a host is to the console: a machine where an agent answers and jobs run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from shared.agent_protocol import Health
from shared.errors import AgentError
from shared.job_spec import DatasetReference
from tui.services.agent_client import AgentClient

Step = Callable[[str], None]
"""Told, in a few words, what is being done about a host."""


def in_silence(step: str) -> None:
    """For whoever does not show the steps."""


class Host(Protocol):
    """One machine. Whatever is wrong with reaching it is an AgentError."""

    @property
    def name(self) -> str:
        """As the user types it and the store keeps it: `local`, `ssh:NAME`."""
        ...

    def client(self) -> AbstractAsyncContextManager[AgentClient]:
        """A client for the agent that runs there; starts none.

        Raises:
            AgentUnreachable: the machine or its agent does not answer.
        """
        ...

    async def ensure_agent(self, on_step: Step = in_silence) -> Health:
        """Have an agent there that answers: install and start what is missing.

        Raises:
            AgentUnreachable: it does not answer.
            ProtocolError: the agent that runs there speaks another version.
        """
        ...

    async def ensure_trainer(self, on_step: Step = in_silence) -> None:
        """Have there what a trainer imports; the first time may take minutes."""
        ...

    async def put_dataset(
        self, path: Path, dataset: DatasetReference, on_step: Step = in_silence
    ) -> None:
        """Put the training file where the agent looks for it, named by its content.

        Raises:
            InvalidDataset: the file is not the one that was checked, or cannot be copied.
        """
        ...

    async def close(self) -> None:
        """Let go of the machine; its agent and its jobs go on."""
        ...


async def revive(host: Host) -> bool:
    """Start the agent again if it is gone; True if it answers now."""
    try:
        await host.ensure_agent()
    except AgentError:
        return False
    return True
