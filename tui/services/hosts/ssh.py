"""Any machine that SSH reaches, as a host: nothing of ours has to be there before."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.agent_protocol import Health
from shared.clean_text import clean_line
from shared.errors import AgentError, AgentUnreachable, DatasetChanged, HostUnreachable
from shared.job_spec import DatasetReference
from shared.manifest import file_sha256
from tui.services.agent_client import AgentAddress, AgentClient
from tui.services.hosts.host import Step, in_silence
from tui.services.remote.bootstrap import Bootstrap
from tui.services.remote.state import RunningAgent
from tui.services.ssh.asker import Asker, may_ask
from tui.services.ssh.connection import connect
from tui.services.ssh.options import SshOptions
from tui.services.ssh.remote_shell import SshShell
from tui.services.ssh.tunnel import Tunnel


class SshHost:
    """One connection, however many jobs; see `Host` for what each method does."""

    def __init__(
        self,
        options: SshOptions,
        *,
        base: str,
        asker: Asker | None = None,
    ) -> None:
        """`base` is the directory of ours over there; see `Bootstrap`."""
        self._name = name = options.address.label
        self._tunnel = Tunnel(name, lambda: connect(options, asker if may_ask() else None))
        self.shell = SshShell(name, self._tunnel.connection)
        self.bootstrap = Bootstrap(self.shell, base)
        self._agent: RunningAgent | None = None
        self._ensuring = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._name

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[AgentClient]:
        try:
            async with AgentClient(await self._address()) as client:
                yield client
        except HostUnreachable:
            raise
        except AgentUnreachable as error:
            # What went wrong on the way says more than that nobody answers at its end.
            if self._tunnel.trouble:
                raise HostUnreachable(self._tunnel.trouble) from error
            raise

    async def ensure_agent(self, on_step: Step = in_silence) -> Health:
        async with self._ensuring:
            on_step(f"connecting to {self._name}")
            await self._tunnel.connection()
            try:
                if self._agent is not None:
                    return await self._health(self._agent)
            except AgentUnreachable:
                self._agent = None
            agent = await self.bootstrap.ensure_agent(on_step)
            await self._lead_to(agent)
            return await self._health(agent)

    async def ensure_trainer(self, on_step: Step = in_silence) -> None:
        await self.bootstrap.ensure_trainer(on_step)

    async def put_dataset(
        self, path: Path, dataset: DatasetReference, on_step: Step = in_silence
    ) -> None:
        health = await self.ensure_agent()
        target = f"{health.root}/datasets/{dataset.stored_name}"
        if await self._sha256(target) == dataset.sha256:
            return

        def tell(done_bytes: int, total_bytes: int) -> None:
            on_step(f"copying the training file: {100 * done_bytes // max(1, total_bytes)} %")

        async def check(part: str) -> None:
            if await self._sha256(part) == dataset.sha256:
                return
            if await asyncio.to_thread(file_sha256, path) != dataset.sha256:
                raise DatasetChanged(
                    f"{path}: has changed since it was checked; start again with it as it is."
                )
            raise AgentError(
                f"{self._name}: the training file did not arrive as it was sent; start again."
            )

        await self.shell.upload(path, target, check, tell)

    async def close(self) -> None:
        await self._tunnel.close()

    async def _address(self) -> AgentAddress:
        await self._tunnel.connection()
        async with self._ensuring:
            if self._agent is None:
                agent = (await self.bootstrap.look()).agent
                if agent is None:
                    raise AgentUnreachable(f"{self._name}: no agent runs there.")
                await self._lead_to(agent)
                return self._address_of(agent)
            return self._address_of(self._agent)

    async def _lead_to(self, agent: RunningAgent) -> None:
        await self._tunnel.lead_to(agent.socket, agent.relay_command)
        self._agent = agent

    async def _health(self, agent: RunningAgent) -> Health:
        async with AgentClient(self._address_of(agent)) as client:
            return await client.health()

    def _address_of(self, agent: RunningAgent) -> AgentAddress:
        return AgentAddress(self._tunnel.socket, agent.token, label=f"{self._name}: the agent")

    async def _sha256(self, path: str) -> str | None:
        """Of a file over there; None if there is none."""
        quoted = shlex.quote(path)
        script = f"test -f {quoted} || exit 3\nsha256sum {quoted} || shasum -a 256 {quoted}"
        done = await self.shell.run(script, timeout_s=600)
        if done.exit_status == 3:
            return None
        if done.exit_status != 0:
            raise AgentError(f"{self._name}: {path}: {clean_line(done.stderr)}")
        return done.stdout.split(maxsplit=1)[0].lstrip("\\")
