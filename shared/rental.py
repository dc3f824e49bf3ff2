"""The life of a rented job as data: its phases, who owns each and for how long, and its ledger.

The controller moves a job through these phases; nothing here rents, asks or waits. A phase is finer
than the job's status: `shared.lifecycle` says what the public sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.lifecycle import Activity, StopReason


class RentalPhase(StrEnum):
    """Where a rented job stands. Every phase has a row in `PHASES`."""

    QUEUED = "queued"
    PROVISIONING = "provisioning"
    WAITING = "waiting"
    MOVING = "moving"
    CONNECTING = "connecting"
    CHECKING = "checking"
    INSTALLING = "installing"
    STARTING = "starting"
    RUNNING = "running"
    SECURING = "securing"
    ENDING = "ending"
    ASKING = "asking"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """What a phase means to whoever looks at the job."""

    activity: Activity | None
    """None where the agent's own word holds."""
    owner: Literal["controller", "agent", "you", "nobody"]
    """Who has to do something next."""
    deadline_s: float | None
    """None: as long as it takes, or as the job's own limits say."""
    may_bill: bool
    """True where a machine may be paid for."""


_MINUTE_S = 60.0

PHASES: dict[RentalPhase, PhaseRow] = {
    RentalPhase.QUEUED: PhaseRow(Activity.WAITING_FOR_TURN, "controller", None, False),
    RentalPhase.PROVISIONING: PhaseRow(Activity.PROVISIONING, "controller", 15 * _MINUTE_S, True),
    RentalPhase.WAITING: PhaseRow(Activity.WAITING_FOR_MACHINE, "controller", None, False),
    RentalPhase.MOVING: PhaseRow(Activity.RECOVERING, "controller", 30 * _MINUTE_S, True),
    RentalPhase.CONNECTING: PhaseRow(Activity.CONNECTING, "controller", 10 * _MINUTE_S, True),
    RentalPhase.CHECKING: PhaseRow(Activity.CHECKING_MACHINE, "controller", 3 * _MINUTE_S, True),
    RentalPhase.INSTALLING: PhaseRow(Activity.INSTALLING, "controller", 45 * _MINUTE_S, True),
    RentalPhase.STARTING: PhaseRow(Activity.STARTING_TRAINER, "controller", 30 * _MINUTE_S, True),
    RentalPhase.RUNNING: PhaseRow(None, "agent", None, True),
    RentalPhase.SECURING: PhaseRow(Activity.SECURING_RESULTS, "controller", 30 * _MINUTE_S, True),
    RentalPhase.ENDING: PhaseRow(Activity.ENDING_MACHINE, "controller", None, True),
    RentalPhase.ASKING: PhaseRow(Activity.WAITING_FOR_ANSWER, "you", None, False),
    RentalPhase.DONE: PhaseRow(None, "nobody", None, False),
}
"""Deadlines are several times of what is usual (2026-11): images of 10 GB are pulled in minutes, a
training stack is installed in ten."""


class Rental(BaseModel):
    """How far the controller has come with one job; replaced as a whole, by whoever leads."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    phase: RentalPhase = RentalPhase.QUEUED
    since: datetime
    """When the phase began."""
    reason: str = ""
    """Why it stands there, for the screen; "" where the phase says it."""
    machine: str | None = None
    """Name of the machine that serves it now; None while it has none."""
    rentals: int = 0
    """Machines asked for so far: the number of the latest."""
    next_candidate: int = 0
    """Which of the request's candidates is tried next."""
    failures: tuple[str, ...] = ()
    """Why each candidate of this round was not to be had."""
    refusals: int = 0
    """How many of them the provider will never accept: waiting mends nothing there."""
    waiting_since: datetime | None = None
    """When there was first no candidate to be had."""
    interruptions: int = 0
    attempts_lost: int = 0
    """Attempts that went with their machine's disk."""
    carried: str = ""
    """A checkpoint of a lost volume, here, that goes along to the next machine; "" for none."""
    first_rented_at: datetime | None = None
    silent_since: datetime | None = None
    """Since when the machine's agent does not answer; None while it does."""
    missing_in: tuple[int, ...] = ()
    """Looks at the provider's list in a row that lacked the machine; one may be a mistake."""
    then: RentalPhase = RentalPhase.DONE
    """Where it goes on once the machine that is being ended is gone."""
    outcome: StopReason | None = None
    """How the job will end once the machine is gone; None while that is open."""
    outcome_detail: str = ""
    results: str = ""
    """Where the results are safe, in words; "" while they are not."""
    question: str = ""
    """What the user is asked; "" while nothing is."""
    over_limit: str = ""
    """The month whose limit the next machine would exceed, while that is asked; `2026-11`."""
    phase_s: Mapping[RentalPhase, float] = {}
    """How long the job was in each phase that it has left, all times together."""

    def left_at(self, now: datetime) -> dict[RentalPhase, float]:
        """`phase_s` once the phase of now is left."""
        so_far = self.phase_s.get(self.phase, 0.0)
        return {**self.phase_s, self.phase: so_far + max((now - self.since).total_seconds(), 0.0)}


NOT_AT_WORK = (RentalPhase.QUEUED, RentalPhase.ASKING, RentalPhase.DONE)
"""A job in one of these takes no place among those that run at once."""


def is_at_work(rental: Rental) -> bool:
    """True for a job that takes a place among those that run at once."""
    return rental.phase not in NOT_AT_WORK


class Wish(StrEnum):
    """What the user wants of a rented job; anybody may write it, the controller obeys."""

    RUN = "run"
    CANCEL = "cancel"


class MachineState(StrEnum):
    """What our ledger says of one machine. It only ever moves forward."""

    INTENDED = "intended"
    """Written down before the provider is asked; it may exist."""
    RENTED = "rented"
    ENDING = "ending"
    """To be ended; paid for until its absence is proved."""
    GONE = "gone"
    NEVER = "never"
    """Asked for, and proved not to exist."""

    @property
    def may_exist(self) -> bool:
        """True where somebody may be paying for it."""
        return self in (self.INTENDED, self.RENTED, self.ENDING)


class MachinePurpose(StrEnum):
    """What it was rented for."""

    TRAIN = "train"
    RESCUE = "rescue"
    """To bring home what is on a job's volume."""
    CACHE = "cache"
    """To look after the base models on a volume; it belongs to no job."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine in our ledger."""

    name: str
    """Unique; begins with the store's mark."""
    job_id: str
    provider: str
    purpose: MachinePurpose
    number: int
    """Among the job's machines, from 1."""
    label: str
    """What was asked for: `H100_PCIE secure US-KS-2`."""
    state: MachineState
    usd_per_hour: float
    """As agreed; then as the provider charges it."""
    created_at: datetime
    """When it was asked for."""
    machine_id: str | None = None
    rented_at: datetime | None = None
    ending_at: datetime | None = None
    gone_at: datetime | None = None
    data_center: str | None = None
    end_reason: str = ""
    absences: int = 0
    """How often in a row its absence was seen since it was to end."""
    last_error: str = ""
    """Why it could not be ended so far."""

    def cost_usd(self, now: datetime) -> float:
        """From when it was asked for to its proved end, or to now: never less than is billed."""
        if self.state is MachineState.NEVER or self.rented_at is None:
            return 0.0
        hours = ((self.gone_at or now) - self.created_at).total_seconds() / 3600
        return max(hours, 0.0) * self.usd_per_hour


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of the controller's own ledger."""

    job_id: str
    seq: int
    time: datetime
    level: Literal["info", "warning", "error"]
    message: str


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may act for all rented jobs of the store."""

    owner: str
    label: str
    """For people: host and process."""
    expires_at: datetime
