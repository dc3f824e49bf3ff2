"""A month's money against its limit; values alone."""

from __future__ import annotations

from dataclasses import dataclass

from shared.money.shares import MONTH_SHARES, highest_reached


@dataclass(frozen=True, slots=True)
class MonthMoney:
    """What machines and volumes of one month cost; dollars."""

    month: str
    """`2026-11`, UTC."""
    limit_usd: float
    spent_usd: float
    """So far."""
    open_usd: float
    """What jobs that are open are still expected to cost."""

    def with_job(self, expected_usd: float) -> float:
        """What the month is expected to cost with one more job."""
        return self.spent_usd + self.open_usd + expected_usd

    def warning_share(self, expected_usd: float) -> float | None:
        """The highest share of the limit that the month then reaches; None below the first."""
        return highest_reached(self.with_job(expected_usd), self.limit_usd, MONTH_SHARES)

    def is_beyond(self, expected_usd: float) -> bool:
        """True if that takes somebody's consent."""
        return self.with_job(expected_usd) >= self.limit_usd
