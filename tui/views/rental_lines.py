"""Rented machines and rented jobs as lines of text. All foreign text in them is clean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.number_text import date_and_clock, duration, many
from shared.rental import PHASES, Machine, MachineState
from tui.views.rental_status import OWNERS, countdown, deadline, interruptions, is_alarming, money

if TYPE_CHECKING:
    from tui.services.controller.fleet import FleetMachine
    from tui.services.rental_watch import RentalSight

FLEET_HEADERS = ["MACHINE", "STATE", "WHAT", "JOB", "$/H", "COST", "SINCE"]
_UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class FleetRow:
    """A rented machine; an orphan says so first."""

    name: str
    state: str
    label: str
    job: str
    usd_per_hour: str
    cost: str
    since: str


def fleet_row(machine: FleetMachine, now: datetime) -> FleetRow:
    """The machine in words."""
    cost = machine.cost_usd(now)
    return FleetRow(
        name=clean_line(machine.name),
        state=fleet_state(machine, now),
        label=clean_line(machine.label),
        job=_job_words(machine),
        usd_per_hour=f"{machine.usd_per_hour:.2f}",
        cost=_UNKNOWN if cost is None else f"${cost:,.2f}",
        since=date_and_clock(_since(machine)),
    )


def fleet_state(machine: FleetMachine, now: datetime) -> str:
    """`ORPHAN, running`; what the ledger says where the provider does not list it."""
    words = machine.status.value if machine.status else _ledger_words(machine.known)
    if machine.is_orphan:
        words = f"ORPHAN, {words}"
    if machine.known is not None and is_alarming(machine.known, now):
        words += ", DOES NOT END"
    return words


def what_runs_there(machine: FleetMachine) -> str:
    """For the question whether to end it."""
    name, price = clean_line(machine.name), f"${machine.usd_per_hour:.2f}/h"
    if machine.job is None:
        return f"{name} ({price}): no job of this store."
    job = machine.job
    told = f"{job.job_id} ({job.status}"
    if job.state.total_steps and not job.status.is_final:
        told += f", step {job.state.step} of {job.state.total_steps}"
    serves = "serves" if machine.serves else "was rented for, and no longer serves,"
    return clean_line(f"{name} ({price}) {serves} {told}).")


def rental_pairs(sight: RentalSight, now: datetime) -> list[tuple[str, str]]:
    """How the job stands with its machines; names without a value are left out."""
    rental, row = sight.rental, PHASES[sight.rental.phase]
    left = countdown(deadline(sight), now)
    phase = f"{rental.phase} since {date_and_clock(rental.since)}"
    pairs = [
        ("phase", f"{phase}, {left}" if left else phase),
        ("whose turn", OWNERS.get(row.owner, "")),
        ("reason", rental.reason),
        ("question", rental.question),
        ("answer", sight.stored.answer),
        ("money", money(sight, now)),
        ("interruptions", interruptions(sight)),
        ("not to be had", "; ".join(rental.failures)),
        ("results", rental.results),
        ("volume", sight.stored.request.network_volume_id or "none"),
        ("at the provider", _gone_words(sight.machines)),
    ]
    return [(name, clean_line(value)) for name, value in pairs if value]


def machine_line(machine: Machine, now: datetime) -> str:
    """`machine 2  H100_PCIE secure US-KS-2  gone  0:42:10  $1.66  (lost)`."""
    end = machine.gone_at or now
    lasted = duration(max((end - machine.created_at).total_seconds(), 0.0))
    words = (
        f"machine {machine.number}  {machine.label}  {machine.state}  {lasted}  "
        f"${machine.cost_usd(now):,.2f} at ${machine.usd_per_hour:.2f}/h"
    )
    told = "; ".join(text for text in (machine.end_reason, machine.last_error) if text)
    return clean_line(f"{words}  ({told})" if told else words)


def _gone_words(machines: tuple[Machine, ...]) -> str:
    paid = sum(machine.state.may_exist for machine in machines)
    if not machines:
        return ""
    return f"{many(paid, 'machine')} may be paid for" if paid else "nothing is paid for"


def _job_words(machine: FleetMachine) -> str:
    if machine.job is None:
        return f"{clean_line(machine.job_id)} (not in this store)"
    return f"{machine.job_id} {machine.job.status}"


def _ledger_words(known: Machine | None) -> str:
    if known is None:
        return _UNKNOWN
    words = {
        MachineState.INTENDED: "asked for",
        MachineState.RENTED: "rented",
        MachineState.ENDING: "ending",
    }
    return f"{words.get(known.state, known.state.value)} (by our ledger)"


def _since(machine: FleetMachine) -> datetime | None:
    if machine.known is not None:
        return machine.known.created_at
    return None if machine.seen is None else machine.seen.created_at
