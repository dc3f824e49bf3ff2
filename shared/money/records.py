"""What is written down about money: what was told, who overrode a limit, bills, volumes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.machine_request import HOURS_PER_MONTH


class NoticeScope(StrEnum):
    """What a share is a share of."""

    JOB = "job"
    """Spent, of the job's budget."""
    PROJECTED = "projected"
    """What the job will have cost, of its budget."""
    MONTH = "month"
    """Spent by everything in a month, of the monthly limit."""


@dataclass(frozen=True, slots=True)
class MoneyNotice:
    """A share of a limit that was reached, told once."""

    scope: NoticeScope
    key: str
    """The job's id; of a month `2026-11`, with the limit where that was changed meanwhile."""
    share: float
    time: datetime
    message: str


@dataclass(frozen=True, slots=True)
class SpendingOverride:
    """Somebody let a job spend beyond the monthly limit, and said why."""

    time: datetime
    month: str
    """`2026-11`; in the next month the limit holds again."""
    job_id: str
    limit_usd: float
    """As it was then."""
    expected_usd: float
    """What the month was expected to cost with the job."""
    reason: str


@dataclass(frozen=True, slots=True)
class MachineBill:
    """What the provider has put on its bill for one machine."""

    machine_name: str
    billed_usd: float | None
    """None: it was asked, and has said nothing yet."""
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class KeptVolume:
    """A network volume that our jobs were given."""

    provider: str
    volume_id: str
    name: str
    size_gb: int
    data_center: str
    usd_per_month: float | None
    """By the published price; None where nobody says."""
    first_seen_at: datetime
    last_seen_at: datetime

    @property
    def usd_per_hour(self) -> float:
        """0 where nobody says."""
        return (self.usd_per_month or 0.0) / HOURS_PER_MONTH
