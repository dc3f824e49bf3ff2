"""What a rented machine may cost and how long a job may run, kept with nobody watching.

The limits of a job are its `limits.json`, with how much of them is used up. Time is the kernel's
uptime (CLOCK_BOOTTIME, which counts a machine's sleep too), never the wall clock; a restart of the
agent or of the container goes on counting. Arithmetic is apart from clock and disk; it stops
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from agent.process import boot_id
from agent.verdict import Verdict
from shared.agent_protocol import MachineLimits
from shared.lifecycle import StopReason
from shared.manifest import write_atomic

WARNING_SHARES = (0.5, 0.8)
"""Of the budget; each is told once when it is spent."""
_SAVE_INTERVAL_S = 60.0
"""What a boot of another kernel can make us forget."""


class Moment(NamedTuple):
    """A point in time that no clock setting moves."""

    uptime_s: float
    boot_id: str
    """Uptimes of different boots cannot be compared."""


class Usage(BaseModel):
    """`limits.json`: a job's limits, and the time since they were received."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    limits: MachineLimits
    elapsed_s: float
    """Since the limits were received, up to the moment below."""
    uptime_s: float
    boot_id: str
    warned_share: float = 0.0
    """The highest that was told."""

    @property
    def spent_usd(self) -> float:
        """By the whole job."""
        return self.limits.spent_usd + self.limits.usd_per_hour * self.elapsed_s / 3600


def received(known: Usage | None, limits: MachineLimits, now: Moment) -> Usage:
    """The usage after `limits` came in: those of an earlier machine, or again, change nothing."""
    if known is not None and (limits.rental < known.limits.rental or limits == known.limits):
        return carried(known, now)
    is_same_budget = known is not None and known.limits.budget_usd == limits.budget_usd
    return Usage(
        limits=limits,
        elapsed_s=0.0,
        uptime_s=now.uptime_s,
        boot_id=now.boot_id,
        warned_share=known.warned_share if known is not None and is_same_budget else 0.0,
    )


def carried(usage: Usage, now: Moment) -> Usage:
    """The usage as of now. How long a machine was off between two boots is not known."""
    is_same_boot = usage.boot_id == now.boot_id
    passed_s = max(now.uptime_s - usage.uptime_s, 0.0) if is_same_boot else 0.0
    return usage.model_copy(
        update={
            "elapsed_s": usage.elapsed_s + passed_s,
            "uptime_s": now.uptime_s,
            "boot_id": now.boot_id,
        }
    )


def reached(usage: Usage) -> Verdict | None:
    """Which limit the training has reached; None while it may go on."""
    limits = usage.limits
    left_usd = limits.budget_usd - limits.reserve_usd
    if usage.spent_usd >= left_usd:
        return Verdict(
            StopReason.BUDGET_EXHAUSTED,
            f"{usage.spent_usd:.2f} USD of {limits.budget_usd:.2f} USD are spent, and "
            f"{limits.reserve_usd:.2f} USD are kept back for bringing the results home.",
        )
    if usage.elapsed_s >= limits.deadline_s:
        return Verdict(
            StopReason.DEADLINE_REACHED,
            f"The {limits.deadline_s / 3600:.2f} h that were left of the job's longest duration "
            "are over.",
        )
    return None


def share_to_tell(usage: Usage) -> float:
    """The highest share of the budget that is spent and was not told; 0.0 for none."""
    reached = [
        share for share in WARNING_SHARES if usage.spent_usd >= share * usage.limits.budget_usd
    ]
    highest = max(reached, default=0.0)
    return highest if highest > usage.warned_share else 0.0


def warning(usage: Usage) -> str:
    """What to tell at a share of the budget; "" before that, or if it was told."""
    budget_usd = usage.limits.budget_usd
    if not share_to_tell(usage):
        return ""
    return (
        f"{usage.spent_usd:.2f} USD of the budget of {budget_usd:.2f} USD are spent; the training "
        f"is stopped at {budget_usd - usage.limits.reserve_usd:.2f} USD."
    )


def read_moment() -> Moment:
    """Now."""
    return Moment(time.clock_gettime(time.CLOCK_BOOTTIME), boot_id())


class Meter:
    """The usage of one job, on the disk and in memory. What it writes blocks."""

    def __init__(self, path: Path, clock: Callable[[], Moment] = read_moment) -> None:
        self._path = path
        self._clock = clock
        self._saved_at_s = clock().uptime_s
        self._usage: Usage | None = None
        if path.exists():
            self._save(carried(Usage.model_validate_json(path.read_bytes()), clock()))

    @property
    def usage(self) -> Usage | None:
        """As of now; None for a job without limits."""
        return None if self._usage is None else carried(self._usage, self._clock())

    @property
    def rental(self) -> int:
        """Of the limits; 0 without any."""
        return 0 if self._usage is None else self._usage.limits.rental

    def receive(self, limits: MachineLimits) -> None:
        """Take in what a start request says."""
        self._save(received(self._usage, limits, self._clock()))

    def save_at_times(self) -> None:
        """Write down how much is used up, once a minute."""
        usage = self.usage
        if usage is not None and usage.uptime_s - self._saved_at_s >= _SAVE_INTERVAL_S:
            self._save(usage)

    def mark_warned(self, share: float) -> None:
        """This share of the budget was told; it is not told again."""
        if (usage := self.usage) is not None:
            self._save(usage.model_copy(update={"warned_share": share}))

    def _save(self, usage: Usage) -> None:
        # First in memory: a full disk must not keep a limit from being kept.
        self._usage, self._saved_at_s = usage, usage.uptime_s
        write_atomic(self._path, usage.model_dump_json(indent=2))
