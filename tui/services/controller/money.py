"""What a rented job has cost, may still cost, and what its machine is told of it; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.agent_protocol import MachineLimits
from shared.machine_request import MachineRequest
from shared.money.reserve import reserve_usd
from shared.rental import Machine, Rental

SHORTEST_USE_HOURS = 0.25
"""A machine is not rented for less: starting alone takes as long."""


def spent_usd(machines: Iterable[Machine], now: datetime) -> float:
    """By all machines of a job so far."""
    return sum(machine.cost_usd(now) for machine in machines)


def affords(request: MachineRequest, spent: float, usd_per_hour: float) -> bool:
    """True if what is left of the budget pays for a machine of this price for a while."""
    left = request.budget_usd - spent - reserve_usd(request, usd_per_hour)
    return left >= usd_per_hour * SHORTEST_USE_HOURS


def deadline_of(request: MachineRequest, rental: Rental, now: datetime) -> datetime:
    """When the job's longest duration is over."""
    return (rental.first_rented_at or now) + timedelta(hours=request.max_duration_hours)


def limits_for(
    request: MachineRequest,
    rental: Rental,
    machine: Machine,
    *,
    spent: float,
    now: datetime,
    idle_end_s: float,
) -> MachineLimits:
    """What the agent on this machine enforces with nobody watching."""
    left_s = (deadline_of(request, rental, now) - now).total_seconds()
    return MachineLimits(
        rental=machine.number,
        usd_per_hour=machine.usd_per_hour,
        spent_usd=spent,
        budget_usd=request.budget_usd,
        reserve_usd=reserve_usd(request, machine.usd_per_hour),
        deadline_s=max(left_s, 1.0),
        results_survive=request.keeps_results,
        idle_end_s=idle_end_s,
    )
