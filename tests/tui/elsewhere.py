"""Another machine for the console: a real agent of this one under another name.

What lies between, SSH, has tests of its own.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.agent_protocol import Health
from shared.errors import AgentUnreachable
from shared.job_spec import DatasetReference
from tui.services.agent_client import AgentClient
from tui.services.hosts.host import Host, Step, in_silence
from tui.services.hosts.hosts import Hosts
from tui.services.hosts.local import LocalHost
from tui.services.hosts.names import LOCAL
from tui.services.ssh.asker import may_ask


@dataclass
class Elsewhere:
    """Tells steps, and goes on with the last one when the test lets it."""

    name: str
    agent: LocalHost
    trouble: str = ""
    """Why it cannot be reached; empty: it can."""
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    asked_by_a_person: list[bool] = field(default_factory=list)
    """For each time that the agent was to be there: whether a person was waiting."""
    looked_at_by_a_person: list[bool] = field(default_factory=list)
    """The same for each client."""

    def client(self) -> AbstractAsyncContextManager[AgentClient]:
        self.looked_at_by_a_person.append(may_ask())
        self._complain()
        return self.agent.client()

    async def ensure_agent(self, on_step: Step = in_silence) -> Health:
        self.asked_by_a_person.append(may_ask())
        on_step(f"connecting to {self.name}")
        self._complain()
        return await self.agent.ensure_agent()

    async def ensure_trainer(self, on_step: Step = in_silence) -> None:
        on_step("installing the trainer's packages")
        await self.may_go_on.wait()

    async def put_dataset(
        self, path: Path, dataset: DatasetReference, on_step: Step = in_silence
    ) -> None:
        await self.agent.put_dataset(path, dataset)

    async def close(self) -> None:
        """Nothing is held."""

    def _complain(self) -> None:
        if self.trouble:
            raise AgentUnreachable(self.trouble)


def put_elsewhere(monkeypatch: pytest.MonkeyPatch, root: Path, name: str = "ssh:box") -> Elsewhere:
    """Have all hosts but this machine be the agent of `root`."""
    elsewhere = Elsewhere(name, LocalHost(root))
    made = Hosts._made

    def made_here(self: Hosts, name: str) -> Host:
        return made(self, name) if name == LOCAL else elsewhere

    monkeypatch.setattr(Hosts, "_made", made_here)
    return elsewhere
