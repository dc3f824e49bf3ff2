"""What is kept back of a job's budget for bringing its results home."""

from __future__ import annotations

from shared.machine_request import MachineRequest

RESERVE_HOURS = 0.25
"""Of the machine's price, kept back for bringing an adapter home: 414 MB take minutes, and a line
may be slow."""
LARGEST_RESERVE_SHARE = 0.2
"""Of the budget."""


def reserve_usd(request: MachineRequest, usd_per_hour: float) -> float:
    """Kept back of the budget."""
    return min(usd_per_hour * RESERVE_HOURS, request.budget_usd * LARGEST_RESERVE_SHARE)
