"""What a job will take, part by part, each with a range and where its figure comes from.

Values only: how they are arrived at stands in `shared.forecast.arithmetic`, and what the job took
in the end in `shared.forecast.actual`. Kept in the store as JSON, so a field that is added later
has a default.
"""

from __future__ import annotations

from enum import StrEnum
from functools import reduce
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from shared.machine_request import HOURS_PER_MONTH

HOUR_S = 3600.0

ModelSource = Literal["download", "cache", "local"]
"""Where the machine gets the base model: from the hub, from a quantised copy on its volume, or from
its own disk, as it was published."""


class PartName(StrEnum):
    """In the order in which a job goes through them."""

    MACHINE = "machine comes up"
    INSTALL = "installing"
    MODEL = "base model"
    LOAD = "loading"
    TRAINING = "training"
    EVALUATION = "evaluation"
    SAVING = "saving and verifying"
    HOME = "bringing it home"


START_UP = frozenset({PartName.MACHINE, PartName.INSTALL, PartName.MODEL, PartName.LOAD})
"""Everything before the first step."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Span(_Value):
    """At best, as expected, and at worst; seconds or dollars, as the name that holds it says."""

    best: float
    expected: float
    worst: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 <= self.best <= self.expected <= self.worst:
            raise ValueError(f"{self.best}, {self.expected}, {self.worst} are not in order")
        return self

    @classmethod
    def exactly(cls, value: float) -> Self:
        """Where there is no doubt."""
        return cls(best=value, expected=value, worst=value)

    def __add__(self, other: Span) -> Span:
        return Span(
            best=self.best + other.best,
            expected=self.expected + other.expected,
            worst=self.worst + other.worst,
        )

    def times(self, factor: float) -> Span:
        """`factor` is not negative."""
        return Span(
            best=self.best * factor, expected=self.expected * factor, worst=self.worst * factor
        )

    def holds(self, value: float) -> bool:
        """True if the value lies between best and worst."""
        return self.best <= value <= self.worst


class Part(_Value):
    """One part of the job."""

    name: PartName
    seconds: Span | None
    """None: nobody can say."""
    source: str
    """Where the figure comes from, in words."""


class PlannedWork(_Value):
    """What is to be done, wherever it is done."""

    base_model: str
    tokens_per_epoch: int
    """Folded."""
    num_epochs: int
    total_steps: int
    held_out_tokens: int = 0
    evaluations: int = 0
    """Over all held-out tokens: before the first step, and at the end of each epoch."""
    flops_per_token: int | None = None
    """Of training; None where the model's shape is unknown."""
    published_bytes: int | None = None
    """Of the base model as it is downloaded."""
    quantized_bytes: int | None = None
    adapter_bytes: int | None = None
    dry_run: bool = False
    first_step: int = 0
    """Steps that another job has done, whose checkpoint this one goes on from."""

    @property
    def tokens(self) -> int:
        """Through the model, forward and backward."""
        left = max(self.total_steps - self.first_step, 0)
        return self.tokens_per_epoch * self.num_epochs * left // max(self.total_steps, 1)

    @property
    def evaluation_tokens(self) -> int:
        """Through the model, forward only."""
        return self.held_out_tokens * self.evaluations


class Place(_Value):
    """Where it is to be done, and at what price."""

    machine: str
    """A GPU type for a rented machine (H100_PCIE); else the host's name (local, ssh:box)."""
    is_rented: bool = False
    num_gpus: int = 1
    """That the job uses."""
    dense_tflops: float | None = None
    """Of one of its GPUs; None where there is none that we know."""
    model_source: ModelSource = "download"
    usd_per_hour: float | None = None
    """None: no rent, or no price that anybody knows."""
    volume_usd_per_month: float | None = None


class Forecast(_Value):
    """All parts of a job, as foreseen."""

    work: PlannedWork
    place: Place
    parts: tuple[Part, ...]
    peak_bytes: int | None = None
    """Predicted memory of one process; None where nobody can say."""

    def part(self, name: PartName) -> Part:
        """The part of this name; every forecast has all of them."""
        return next(part for part in self.parts if part.name is name)

    @property
    def total(self) -> Span | None:
        """Seconds from the machine's first paid moment to its end; None where a part is unknown."""
        spans = [part.seconds for part in self.parts]
        known = [span for span in spans if span is not None]
        return _sum(known) if len(known) == len(spans) else None

    @property
    def start_up(self) -> Span | None:
        """Seconds before the first step."""
        spans = [part.seconds for part in self.parts if part.name in START_UP]
        known = [span for span in spans if span is not None]
        return _sum(known) if len(known) == len(spans) else None

    @property
    def hours(self) -> Span | None:
        total = self.total
        return None if total is None else total.times(1 / HOUR_S)

    @property
    def machine_usd(self) -> Span | None:
        """For the machine; None where its price or the time is unknown."""
        hours, price = self.hours, self.place.usd_per_hour
        return None if hours is None or price is None else hours.times(price)

    @property
    def storage_usd(self) -> Span | None:
        """For the volume, pro rata of the job's hours; it is paid for before and after as well."""
        hours, price = self.hours, self.place.volume_usd_per_month
        return None if hours is None or price is None else hours.times(price / HOURS_PER_MONTH)

    @property
    def cost_usd(self) -> Span | None:
        """For machine and volume; None where nobody can say."""
        machine, storage = self.machine_usd, self.storage_usd
        return machine if machine is None or storage is None else machine + storage


def _sum(spans: list[Span]) -> Span:
    return reduce(Span.__add__, spans, Span.exactly(0.0))
