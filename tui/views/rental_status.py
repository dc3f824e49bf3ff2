"""How a rented job stands, in words: whose turn it is, how long that may take, what it costs.

From the ledger's values alone. Imports nothing heavy: the table of jobs is drawn with it before
anything is rented. All foreign text in it is clean.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from shared.clean_text import clean_line
from shared.number_text import duration, many

if TYPE_CHECKING:
    from shared.rental import Lease, Machine
    from tui.services.rental_watch import RentalSight

_ALARM_AFTER = timedelta(minutes=10)
"""Machines end within seconds; one that is still there after this is nobody's plan (2026-11)."""

Urgency = Literal["", "question", "alarm"]

OWNERS = {
    "controller": "the controller acts",
    "agent": "the machine's agent acts",
    "you": "it is your turn",
}


@dataclass(frozen=True, slots=True)
class RentalStatus:
    """What a screen says about a rented job; "" where there is nothing to say."""

    activity: str
    """The phase's; "" where the agent's own word holds."""
    owner: str
    countdown: str
    money: str
    reason: str
    question: str
    urgency: Urgency


def rental_status(sight: RentalSight, now: datetime) -> RentalStatus:
    """The job as it is at `now`."""
    from shared.rental import PHASES

    rental = sight.rental
    row = PHASES[rental.phase]
    return RentalStatus(
        activity=str(row.activity or ""),
        owner=OWNERS.get(row.owner, ""),
        countdown=countdown(deadline(sight), now),
        money=money(sight, now),
        reason=clean_line(rental.reason),
        question=clean_line(rental.question),
        urgency=urgency(sight, now),
    )


def urgency(sight: RentalSight, now: datetime) -> Urgency:
    """Whether somebody should look at it now."""
    if any(is_alarming(machine, now) for machine in sight.machines):
        return "alarm"
    return "question" if sight.rental.question else ""


def is_alarming(machine: Machine, now: datetime) -> bool:
    """It was to end, and may still be paid for."""
    if machine.state.value != "ending":
        return False
    since = machine.ending_at
    return bool(machine.last_error) or (since is not None and now - since > _ALARM_AFTER)


def deadline(sight: RentalSight) -> datetime | None:
    """When the phase must be over; None where it takes as long as it takes."""
    from shared.rental import PHASES, RentalPhase

    rental, request = sight.rental, sight.stored.request
    if rental.phase is RentalPhase.WAITING and rental.waiting_since is not None:
        return rental.waiting_since + timedelta(hours=request.wait_for_stock_hours)
    if rental.phase is RentalPhase.RUNNING and rental.first_rented_at is not None:
        return rental.first_rented_at + timedelta(hours=request.max_duration_hours)
    seconds = PHASES[rental.phase].deadline_s
    return None if seconds is None else rental.since + timedelta(seconds=seconds)


def countdown(at: datetime | None, now: datetime) -> str:
    """`0:12:34 left`, `overdue by 0:00:10`; "" without a deadline."""
    if at is None:
        return ""
    seconds = (at - now).total_seconds()
    return f"{duration(seconds)} left" if seconds >= 0 else f"overdue by {duration(-seconds)}"


def money(sight: RentalSight, now: datetime) -> str:
    """`$3.20 of $20.00, $2.39/h now`."""
    words = f"${sight.cost_usd(now):,.2f} of ${sight.stored.request.budget_usd:,.2f}"
    return f"{words}, ${sight.usd_per_hour:,.2f}/h now" if sight.usd_per_hour else words


def interruptions(sight: RentalSight) -> str:
    """`1 of 3 interruptions`; "" before the first."""
    count = sight.rental.interruptions
    if not count:
        return ""
    return f"{count} of {many(sight.stored.request.max_interruptions, 'interruption')}"


def control_words(lease: Lease | None, leads: bool, now: datetime) -> str:
    """Who acts for rented jobs."""
    if leads:
        return "this console controls"
    if lease is None or lease.expires_at <= now:
        return "nobody controls"
    return f"controlled by {clean_line(lease.label)}: watching"
