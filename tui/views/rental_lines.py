"""A rented job and its machines as lines of text. All foreign text in them is clean."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.number_text import date_and_clock, duration, many
from shared.rental import PHASES, Lease, Machine, RentalPhase
from tui.views.money_lines import money_of_sight, money_pairs
from tui.views.rental_status import OWNERS, countdown, deadline, interruptions

NOBODY_ACTS = (
    "Nobody controls it now: the console (`brightrun`) or `brightrun serve` goes on with it, "
    "brings the adapter home and ends the machine. Until one of them runs nothing is rented, and "
    "a machine that is there keeps to the job's budget and hours by itself."
)

if TYPE_CHECKING:
    from shared.job_state import JobState
    from tui.services.rental_watch import RentalSight


def rental_pairs(
    sight: RentalSight, lease: Lease | None, now: datetime, state: JobState
) -> list[tuple[str, str]]:
    """How the job stands with its machines; names without a value are left out."""
    money = money_of_sight(sight, state, now)
    rental, row = sight.rental, PHASES[sight.rental.phase]
    left = countdown(deadline(sight), now)
    phase = f"{rental.phase} since {date_and_clock(rental.since)}"
    pairs = [
        ("phase", f"{phase}, {left}" if left else phase),
        ("whose turn", OWNERS.get(row.owner, "")),
        ("controller", "" if rental.phase is RentalPhase.DONE else leader_words(lease, now)),
        ("reason", rental.reason),
        ("question", rental.question),
        ("answer", sight.stored.answer),
        *money_pairs(money),
        ("interruptions", interruptions(sight)),
        ("not to be had", "; ".join(rental.failures)),
        ("results", rental.results),
        ("volume", sight.stored.request.network_volume_id or "none"),
        ("at the provider", _gone_words(sight.machines)),
    ]
    return [(name, clean_line(value)) for name, value in pairs if value]


def machine_line(machine: Machine, now: datetime) -> str:
    """`machine 2: H100_PCIE secure US-KS-2, gone after 0:42:10, $1.66 at $2.39/h (lost)`."""
    end = machine.gone_at or now
    lasted = duration(max((end - machine.created_at).total_seconds(), 0.0))
    state = f"{machine.state} after" if machine.gone_at else f"{machine.state} for"
    words = (
        f"machine {machine.number}: {machine.label}, {state} {lasted}, "
        f"${machine.cost_usd(now):,.2f} at ${machine.usd_per_hour:.2f}/h"
    )
    told = "; ".join(text for text in (machine.end_reason, machine.last_error) if text)
    return clean_line(f"{words} ({told})" if told else words)


def leader_words(lease: Lease | None, now: datetime) -> str:
    """Who acts for rented jobs, or what has to be started for that."""
    if lease is None or lease.expires_at <= now:
        return NOBODY_ACTS
    return f"{clean_line(lease.label)} controls it."


def _gone_words(machines: tuple[Machine, ...]) -> str:
    paid = sum(machine.state.may_exist for machine in machines)
    if not machines:
        return ""
    return f"{many(paid, 'machine')} may be paid for" if paid else "nothing is paid for"
