"""Which shares of a limit are told, and which of them were reached; no clock, no store."""

from __future__ import annotations

from collections.abc import Sequence

JOB_SHARES = (0.5, 0.8, 1.0)
"""Of a job's budget: the product's own alerts."""
MONTH_SHARES = (0.8, 0.95, 1.0)
"""Of the monthly limit."""


def reached(usd: float, limit_usd: float, shares: Sequence[float]) -> tuple[float, ...]:
    """Those that `usd` is at or beyond, smallest first."""
    return tuple(share for share in shares if usd >= share * limit_usd)


def highest_reached(usd: float, limit_usd: float, shares: Sequence[float]) -> float | None:
    """The largest of them; None below all."""
    return max(reached(usd, limit_usd, shares), default=None)
