"""One line of the table of rented machines. All foreign text in it is clean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.clean_text import clean_line
from shared.number_text import date_and_clock, usd
from shared.rental import MachineState
from tui.services.controller.fleet import FleetMachine
from tui.views.rental_status import is_alarming

_UNKNOWN = "–"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class FleetRow:
    """What the table shows of a rented machine."""

    name: str
    state: str
    label: str
    job: str
    price: str
    cost: str
    since: str
    is_urgent: bool
    """Somebody should end it: an orphan, or one that does not end by itself."""


def fleet_row(machine: FleetMachine, now: datetime) -> FleetRow:
    """The machine in words."""
    known, seen = machine.known, machine.seen
    since = known.created_at if known else seen.created_at if seen else None
    alarming = known is not None and is_alarming(known, now)
    cost = machine.cost_usd(now)
    return FleetRow(
        name=clean_line(machine.name),
        state=fleet_state(machine),
        label=clean_line(machine.label),
        job=_job(machine),
        price=usd(machine.usd_per_hour),
        cost=_UNKNOWN if cost is None else usd(cost),
        since=date_and_clock(since),
        is_urgent=machine.is_orphan or alarming,
    )


def fleet_state(machine: FleetMachine) -> str:
    """`orphan, running`: the provider's word, or the ledger's where it was not asked."""
    known = machine.known
    word = str(machine.status or "")
    if not word and known is not None:
        word = "asked for" if known.state is MachineState.INTENDED else str(known.state)
    if known is not None and known.state is MachineState.ENDING:
        word = f"ending ({machine.status})" if machine.status else "ending"
    return f"{ORPHAN}, {word}" if machine.is_orphan else word


def fleet_question(machine: FleetMachine, now: datetime) -> tuple[str, str]:
    """What is asked before it is ended, and what runs there."""
    row = fleet_row(machine, now)
    lines = [
        f"{row.label}: {row.state}",
        f"it serves {row.job}" if machine.serves else "no open job wants it",
        f"{row.price}/h, {row.cost} so far",
        "What is on its own disk is lost.",
    ]
    return f"End {row.name}?", "\n".join(lines)


def fleet_summary(machines: list[FleetMachine]) -> str:
    """`3 rented machines at $7.17/h, 1 of them an orphan`."""
    paid = [machine for machine in machines if machine.usd_per_hour]
    orphans = sum(machine.is_orphan for machine in machines)
    count = len(machines)
    noun = "rented machine" if count == 1 else "rented machines"
    burn = f" at {usd(sum(machine.usd_per_hour for machine in paid))}/h" if paid else ""
    lost = f", {orphans} of them without a job" if orphans else ""
    return f"{count} {noun}{burn}{lost}"


def _job(machine: FleetMachine) -> str:
    if machine.job is None:
        return f"{clean_line(machine.job_id)} (not in this store)"
    return clean_line(f"{machine.job.spec.name} ({machine.job_id})")
