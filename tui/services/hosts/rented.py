"""The machine that is rented for a job, as a host: whichever serves it now.

It rents nothing and ends nothing; the ledger says which machine it is and the controller has
written down how to get in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from shared.agent_protocol import Health
from shared.errors import AgentUnreachable
from shared.job_spec import DatasetReference
from shared.machine_request import MachineRequest
from shared.store.rentals import Rentals
from tui.services.agent_client import AgentClient
from tui.services.hosts.host import Step, in_silence
from tui.services.hosts.names import RUNPOD_PREFIX
from tui.services.hosts.ssh import SshHost
from tui.services.ssh.machine_files import MachineFiles


def shared_base_on(request: MachineRequest) -> str:
    """What all jobs on a volume share: our code, environments, the hub's cache."""
    return str(PurePosixPath(request.mount_path) / "brightrun")


def base_on(request: MachineRequest, job_id: str) -> str:
    """The job's own directory on a rented machine: its agent, which only one machine may be."""
    return f"{shared_base_on(request)}/jobs/{job_id}"


class RentedHost:
    """See `Host` for what each method does; they raise AgentUnreachable while there is none."""

    def __init__(self, job_id: str, rentals: Rentals, home: Path) -> None:
        self._job_id = job_id
        self._rentals = rentals
        self._home = home
        self._machine = ""
        self._host: SshHost | None = None

    @property
    def name(self) -> str:
        return RUNPOD_PREFIX + self._job_id

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[AgentClient]:
        host = await self.over_ssh()
        async with host.client() as client:
            yield client

    async def ensure_agent(self, on_step: Step = in_silence) -> Health:
        return await (await self.over_ssh()).ensure_agent(on_step)

    async def ensure_trainer(self, on_step: Step = in_silence) -> None:
        await (await self.over_ssh()).ensure_trainer(on_step)

    async def put_dataset(
        self, path: Path, dataset: DatasetReference, on_step: Step = in_silence
    ) -> None:
        await (await self.over_ssh()).put_dataset(path, dataset, on_step)

    async def close(self) -> None:
        host, self._host, self._machine = self._host, None, ""
        if host is not None:
            await host.close()

    async def over_ssh(self, fingerprint: str | None = None) -> SshHost:
        """The machine that serves the job now.

        `fingerprint` is the host key to trust if none is trusted yet.

        Raises:
            AgentUnreachable: there is none, or nobody has been let in yet.
        """
        stored = await self._rentals.get(self._job_id)
        name = None if stored is None else stored.rental.machine
        if stored is None or name is None:
            phase = "not rented" if stored is None else stored.rental.phase
            raise AgentUnreachable(
                f"{self._job_id} has no machine now ({phase}); its log, if one was "
                f"kept, is shown by `brightrun logs {self._job_id}`."
            )
        files = MachineFiles(self._home, name)
        if fingerprint is None and not await asyncio.to_thread(lambda: files.is_pinned):
            raise AgentUnreachable(f"{name}: nobody has been let in yet.")
        if self._host is None or self._machine != name or fingerprint is not None:
            await self.close()
            options = files.options(fingerprint)
            self._host = SshHost(options, base=base_on(stored.request, self._job_id))
            self._machine = name
        return self._host
