"""This machine as a host: a detached agent on a Unix socket, never in this process.

The agent is started by its command line and found by the files in its root; this module knows
their names (`agent.json`, `agent.token`, `datasets/`) from the contract, not from the agent's code.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shared.agent_protocol import Health
from shared.dataset.storage import store_dataset
from shared.errors import AgentUnreachable, ProtocolError
from shared.job_spec import DatasetReference
from tui.services.agent_client import AgentAddress, AgentClient
from tui.services.hosts.host import Step, in_silence
from tui.services.hosts.names import LOCAL

_START_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class LocalHost:
    """The agent under one root directory of this machine."""

    root: Path

    @property
    def name(self) -> str:
        return LOCAL

    def client(self) -> AgentClient:
        """A client for the agent that last wrote its address.

        Raises:
            AgentUnreachable: no agent has run here yet.
            ProtocolError: its address file makes no sense.
        """
        return AgentClient(self._address())

    async def ensure_agent(self, on_step: Step = in_silence) -> Health:
        """Start the agent unless it answers. It outlives this process.

        Raises:
            AgentUnreachable: it did not start; the message has its own last words.
            ProtocolError: the agent that runs here speaks another version.
        """
        try:
            return await self._health()
        except AgentUnreachable:
            last_words = await self._start_agent()
        try:
            return await self._health()
        except AgentUnreachable as error:
            raise AgentUnreachable(
                f"the agent of this machine did not start. {last_words or error}"
            ) from error

    async def ensure_trainer(self, on_step: Step = in_silence) -> None:
        """The trainer of this machine is the user's own environment."""

    async def put_dataset(
        self, path: Path, dataset: DatasetReference, on_step: Step = in_silence
    ) -> None:
        """Copy the training file to where the agent looks for it, named by its content.

        Raises:
            InvalidDataset: the file is not the one that was checked, or cannot be copied.
        """
        await asyncio.to_thread(store_dataset, path, self.root / "datasets", dataset)

    async def close(self) -> None:
        """Nothing is held."""

    def _make_root(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _address(self) -> AgentAddress:
        path = self.root / "agent.json"
        try:
            socket = json.loads(path.read_text(encoding="utf-8"))["socket"]
            token = (self.root / "agent.token").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise AgentUnreachable(f"no agent runs in {self.root} ({error.strerror}).") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"{path}: is not an agent's address ({error}).") from error
        return AgentAddress(Path(socket), token)

    async def _health(self) -> Health:
        async with self.client() as client:
            return await client.health()

    async def _start_agent(self) -> str:
        """Run the agent's command until it has detached; returns the last line of its complaints.

        Two consoles may do this at once: the agent's lock lets one of them win, and it is enough
        for both that somebody answers afterwards.
        """
        try:
            self._make_root()
        except OSError as error:
            raise AgentUnreachable(f"{self.root}: cannot be made ({error.strerror}).") from error
        # A file, not a pipe: the detached agent would hold a pipe open for as long as it runs.
        with tempfile.TemporaryFile() as complaints:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "agent.cli", "serve"),
                *("--root", str(self.root), "--detach"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,  # Ctrl-C here must not reach it.
            )
            try:
                async with asyncio.timeout(_START_TIMEOUT_S):
                    await process.wait()
            except TimeoutError as error:
                raise AgentUnreachable(
                    f"the agent did not start within {_START_TIMEOUT_S:.0f} s; "
                    f"see the files in {self.root}."
                ) from error
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            complaints.seek(0)
            lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
