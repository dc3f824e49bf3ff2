"""A machine with the real environment of the agent, made once for all tests of the session."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.process import ProcessIdentity, boot_id, is_alive, send_signal
from shared.errors import InstallationFailed
from tests.remote.local_shell import LocalShell
from tui.services.remote.bootstrap import Bootstrap
from tui.services.remote.payload import Payload, build_payload
from tui.services.remote.state import RunningAgent


@dataclass
class Machine:
    """A home on this machine, and what the installation said while it worked there."""

    shell: LocalShell
    payload: Payload
    steps: list[str] = field(default_factory=list)

    @property
    def base(self) -> Path:
        return self.shell.home / ".local" / "share" / "brightrun"

    @property
    def root(self) -> Path:
        return self.base / "agent"

    def bootstrap(self, payload: Payload | None = None) -> Bootstrap:
        return Bootstrap(self.shell, payload=payload or self.payload)

    async def ensure_agent(self, payload: Payload | None = None) -> RunningAgent:
        return await self.bootstrap(payload).ensure_agent(self.steps.append)

    def agent(self) -> ProcessIdentity | None:
        """The process that wrote `agent.json`."""
        try:
            address = json.loads((self.root / "agent.json").read_text())
        except FileNotFoundError:
            return None
        return ProcessIdentity(address["pid"], address["start_time"], boot_id())

    def clean_up(self) -> None:
        """End what the tests have started here, all of which runs in a session of its own."""
        agent = self.agent()
        if agent is not None and send_signal(agent, signal.SIGTERM):
            deadline = time.monotonic() + 15
            while is_alive(agent) and time.monotonic() < deadline:
                time.sleep(0.02)
        for path in self.root.glob("jobs/*/attempts/*/shim.json"):
            trainer = json.loads(path.read_text())["trainer_pid"]
            with suppress(ProcessLookupError):
                os.killpg(trainer, signal.SIGKILL)


@pytest.fixture(scope="session")
def payload() -> Payload:
    return build_payload()


@dataclass
class FirstMachine(Machine):
    agents: list[RunningAgent] = field(default_factory=list)
    """What each of four consoles got that came to the bare machine at once."""


@pytest.fixture(scope="session")
def first_machine(
    tmp_path_factory: pytest.TempPathFactory, payload: Payload
) -> Iterator[FirstMachine]:
    """What four consoles at once have made of a bare machine; needs a package index."""
    home = tmp_path_factory.mktemp("first-machine")
    shell = LocalShell(home, noise="Welcome!\nYou have mail.\n")
    machine = FirstMachine(shell, payload)

    async def come_at_once() -> None:
        machine.agents = await asyncio.gather(*(machine.ensure_agent() for _ in range(4)))

    try:
        asyncio.run(come_at_once())
    except InstallationFailed as error:
        if "index cannot be reached" in str(error):
            pytest.skip(f"needs a package index: {error}")
        raise
    yield machine
    machine.clean_up()


@pytest.fixture
def machine(first_machine: FirstMachine, tmp_path: Path) -> Iterator[Machine]:
    """Another one that has the environment of the first, and nothing else."""
    made = Machine(LocalShell(tmp_path), first_machine.payload)
    made.base.mkdir(parents=True)
    # By its name there: the environment is used as it is, and never written to.
    (made.base / "env").symlink_to(first_machine.base / "env")
    yield made
    made.clean_up()
