"""What a job asks of the machine that is to be rented for it, and what it may cost.

The same for every provider. Prices are what the provider's catalogue said when the user looked;
nothing here knows a price, a provider's name for a GPU, or a network.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.memory.cards import CARDS

DEFAULT_IMAGE = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"
"""A stock image with sshd and Python 3.12, as in the provider's API examples (2026-08)."""

DEFAULT_START_SCRIPT = "/start.sh"
DEFAULT_MOUNT_PATH = "/workspace"
"""As in the provider's own images."""

HOURS_PER_MONTH = 730


class Cloud(StrEnum):
    """Whose machines: the provider's data centres, or other people's."""

    SECURE = "secure"
    COMMUNITY = "community"


class Stock(StrEnum):
    """How much of it is left, in the provider's words."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for none; the more, the likelier that it can be had."""
        return list(Stock).index(self)


class Candidate(BaseModel):
    """One way to get the machine, at the price that the user saw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_type: str
    """Our name, such as H100_PCIE: a key of `shared.memory.cards.CARDS`."""
    gpu_count: Annotated[int, Field(ge=1, le=8)] = 1
    cloud: Cloud = Cloud.SECURE
    data_center: str | None = None
    """None: wherever the provider finds one."""
    usd_per_hour: Annotated[float, Field(ge=0)]
    """Of the whole machine."""
    stock: Stock = Stock.NONE
    """When the user looked."""

    @property
    def label(self) -> str:
        """`H100_PCIE secure US-KS-2`, with `2x` before it where there are several."""
        count = f"{self.gpu_count}x " if self.gpu_count > 1 else ""
        return f"{count}{self.gpu_type} {self.cloud} {self.data_center or 'anywhere'}"


class AfterInterruptions(StrEnum):
    """What happens once a job has lost as many machines as it may."""

    ASK = "ask"
    NEXT_GPU = "next_gpu"
    """Go on with the next GPU type of the candidates."""
    STOP = "stop"


class MachineRequest(BaseModel):
    """What the user agreed to; complete before anything is rented."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Literal["runpod"] = "runpod"
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    """In the order in which they are tried."""
    network_volume_id: str | None = None
    """None: what is on the machine is lost with it."""
    network_volume_usd_per_month: Annotated[float, Field(ge=0)] | None = None
    image: Annotated[str, Field(min_length=1)] = DEFAULT_IMAGE
    registry: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    """The provider's id of credentials for a private image; the credentials stay with it."""
    start_script: Annotated[str, Field(pattern=r"^/[\w./-]+$")] = DEFAULT_START_SCRIPT
    """In the image; it runs sshd, and our start command ends with it."""
    mount_path: Annotated[str, Field(pattern=r"^/[\w./-]+$")] = DEFAULT_MOUNT_PATH
    """Where the network volume is mounted; without one, a directory of the container's disk."""
    container_disk_gb: Annotated[int, Field(ge=10, le=2000)] = 50
    min_cuda: Annotated[str, Field(pattern=r"^\d+\.\d+$")] = "12.8"
    """What the host's driver must be able to run: torch 2.13's CUDA builds begin there."""
    budget_usd: Annotated[float, Field(gt=0)]
    """For all machines of the job together."""
    max_duration_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    """From the first machine's start, interruptions included."""
    max_interruptions: Annotated[int, Field(ge=0, le=20)] = 3
    after_interruptions: AfterInterruptions = AfterInterruptions.ASK
    wait_for_stock_hours: Annotated[float, Field(ge=0, le=168)] = 1.0
    """How long it waits where no candidate is to be had, before it gives up."""
    price_tolerance: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Share by which a machine may cost more than its candidate says; beyond it, it is ended."""

    @model_validator(mode="after")
    def _holds_together(self) -> MachineRequest:
        for candidate in self.candidates:
            if candidate.gpu_type not in CARDS:
                raise ValueError(f"{candidate.gpu_type} is no GPU type: {', '.join(CARDS)}")
            if self.network_volume_id and candidate.cloud is Cloud.COMMUNITY:
                raise ValueError("network volumes are in the secure cloud only")
        return self

    @property
    def keeps_results(self) -> bool:
        """True if what the machine wrote outlives it."""
        return self.network_volume_id is not None
