"""What the controller asks of whoever rents out machines; knows no provider and no job.

Every error is a `ProviderError`. A provider never retries a request that changes something, except
where the answer says for certain that it was not carried out (429).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.machine_request import Candidate, Cloud


class MachineStatus(StrEnum):
    """What the provider says about a machine; all but the last are paid for."""

    PROVISIONING = "provisioning"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    """Stopped: it costs little and keeps its disk, but nothing runs."""
    ERROR = "error"
    TERMINATED = "terminated"

    @property
    def is_up(self) -> bool:
        """It runs, or is on its way to."""
        return self in (self.PROVISIONING, self.STARTING, self.RUNNING)


@dataclass(frozen=True, slots=True)
class MachineOrder:
    """One machine, complete. `candidate.usd_per_hour` is what it may cost."""

    name: str
    """Unique for each try; begins with the store's mark."""
    candidate: Candidate | None
    """None: the smallest machine without a GPU, for bringing home what is on a volume."""
    image: str
    command: str
    """What the container runs instead of the image's own start."""
    env: Mapping[str, str] = field(repr=False)
    container_disk_gb: int
    min_cuda: str | None
    network_volume_id: str | None = None
    mount_path: str = "/workspace"
    data_center: str | None = None
    """For a machine without a candidate."""
    registry: str | None = None
    """The provider's id of credentials for a private image."""


@dataclass(frozen=True, slots=True)
class RentedMachine:
    """A machine as the provider lists it."""

    machine_id: str
    name: str
    status: MachineStatus
    usd_per_hour: float
    gpu_id: str | None
    gpu_count: int
    cloud: Cloud
    data_center: str | None
    ssh_host: str | None
    """None until it runs and its port is open to the world."""
    ssh_port: int | None
    ssh_user: str | None
    created_at: datetime | None
    cuda: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkVolume:
    """A disk of the provider's that outlives machines; bound to one data centre."""

    volume_id: str
    name: str
    size_gb: int
    data_center: str
    usd_per_month: float | None
    """By the published price; None where nobody says."""


@dataclass(frozen=True, slots=True)
class DataCenter:
    """A place with machines."""

    data_center_id: str
    name: str
    has_network_volumes: bool


class Provider(Protocol):
    """One account at one provider."""

    @property
    def name(self) -> str:
        """As in a host's name: `runpod`."""
        ...

    async def offers(
        self, gpu_types: Sequence[str], gpu_count: int, clouds: Sequence[Cloud]
    ) -> list[Candidate]:
        """What is in the catalogue now, sold out or not: one for each cloud and data centre.

        Raises:
            InvalidMachineRequest: a GPU type that the provider does not have.
            ProviderError: see `shared.errors`.
        """
        ...

    async def rent(self, order: MachineOrder) -> RentedMachine:
        """Ask for the machine, once; it is paid for from here on.

        Raises:
            NoCapacity, ProviderRefused, InsufficientBalance, ProviderUnauthorized: there is none.
            ProviderUnreachable: nothing was sent, or it was refused for now.
            AmbiguousAnswer: there may be one of that name.
        """
        ...

    async def machines(self) -> list[RentedMachine]:
        """Everything in the account that is not terminated, ours or not; one request.

        Raises:
            ProviderUnreachable, ProviderUnauthorized: nothing is known.
        """
        ...

    async def machine(self, machine_id: str) -> RentedMachine | None:
        """This one; None if the provider has none of that id (which is not yet proof: see list)."""
        ...

    async def end(self, machine_id: str) -> None:
        """Terminate it; one that is gone already is no error. Only absence proves the end.

        Raises:
            ProviderError: it may live on.
        """
        ...

    def log_lines(self, machine_id: str) -> AsyncGenerator[str]:
        """What the container has printed, from its start, and goes on to print.

        Raises:
            ProviderError: the log cannot be read.
        """
        ...

    async def system_log(self, machine_id: str) -> list[str]:
        """The provider's own last words about the machine: image pulls, restarts."""
        ...

    async def volumes(self) -> list[NetworkVolume]:
        """All of the account."""
        ...

    async def create_volume(self, name: str, size_gb: int, data_center: str) -> NetworkVolume:
        """A new volume, paid for by the month.

        Raises:
            InvalidMachineRequest: a size or a data centre that is not to be had.
            AmbiguousAnswer: there may be one of that name.
        """
        ...

    async def data_centers(self) -> list[DataCenter]:
        """All that there are."""
        ...

    async def smallest_usd_per_hour(self, data_center: str) -> float:
        """The price of the smallest machine without a GPU there, as of now.

        Raises:
            NoCapacity: there is none.
        """
        ...

    async def billed_usd(self, machine_id: str) -> float | None:
        """What the provider has put on the bill for it so far; None where it does not say yet."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
