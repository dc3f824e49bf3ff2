"""The part of `brightrun show` that is about rented machines and money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from shared.events import utc_now
from shared.job_state import JobState
from shared.money.bills import BillDifference, differences
from shared.number_text import clock
from shared.rental import PHASES, Lease, Machine
from shared.store.store import Store
from tui.commands.output import print_pairs, say_line
from tui.services.rental_watch import RentalSight
from tui.services.spending.outlook import outlook_of
from tui.views.money_lines import bill_warning, bill_words, money_dict, money_of_sight
from tui.views.rental_answers import how_to_answer
from tui.views.rental_lines import machine_line, rental_pairs
from tui.views.rental_status import deadline

_LEDGER_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ShownRental:
    """A rented job as of now, and who led last."""

    sight: RentalSight
    lease: Lease | None
    state: JobState
    bills: tuple[BillDifference, ...]
    """Of its machines that are on the provider's bill."""


async def rental_of(store: Store, job_id: str) -> ShownRental | None:
    """None for a job for which nothing is rented."""
    stored = await store.rentals.get(job_id)
    if stored is None:
        return None
    machines = tuple(await store.rentals.machines(job_id))
    ledger = tuple(await store.rentals.ledger(job_id))
    bills = tuple(differences(machines, await store.spending.bills()))
    sight = RentalSight(stored, machines, ledger, await outlook_of(store, job_id))
    state = (await store.get_job(job_id)).state
    return ShownRental(sight, await store.rentals.lease(), state, bills)


def print_rental(shown: ShownRental | None) -> None:
    """Phase, money, machines, and the end of the controller's ledger."""
    if shown is None:
        return
    sight, now = shown.sight, utc_now()
    say_line("")
    print_pairs(rental_pairs(sight, shown.lease, now, shown.state))
    billed = {each.machine.name: bill_words(each) for each in shown.bills}
    for machine in sight.machines:
        words = machine_line(machine, now)
        say_line(f"{words}; {billed[machine.name]}" if machine.name in billed else words)
    for warning in filter(None, map(bill_warning, shown.bills)):
        say_line(Text(f"! {warning}.", "yellow"))
    if sight.rental.question:
        say_line(how_to_answer(sight))
    say_line("")
    for entry in sight.fresh[-_LEDGER_SHOWN:]:
        say_line(f"{clock(entry.time)}  {entry.message}")


def rental_dict(shown: ShownRental | None) -> dict[str, Any] | None:
    """For --json."""
    if shown is None:
        return None
    sight, lease, now = shown.sight, shown.lease, utc_now()
    rental, at = sight.rental, deadline(sight)
    billed = {each.machine.name: each.billed_usd for each in shown.bills}
    leads = lease is not None and lease.expires_at > now
    return {
        **rental.model_dump(mode="json"),
        "owner": PHASES[rental.phase].owner,
        "deadline": None if at is None else at.isoformat(),
        "controlled_by": lease.label if lease is not None and leads else None,
        "wish": sight.stored.wish.value,
        "answer": sight.stored.answer,
        "cost_usd": sight.cost_usd(now),
        "usd_per_hour": sight.usd_per_hour,
        **money_dict(money_of_sight(sight, shown.state, now)),
        "request": sight.stored.request.model_dump(mode="json"),
        "machines": [
            {
                **_machine_dict(machine),
                "cost_usd": machine.cost_usd(now),
                "billed_usd": billed.get(machine.name),
            }
            for machine in sight.machines
        ],
    }


def _machine_dict(machine: Machine) -> dict[str, Any]:
    return {
        "name": machine.name,
        "machine_id": machine.machine_id,
        "number": machine.number,
        "purpose": machine.purpose.value,
        "label": machine.label,
        "state": machine.state.value,
        "usd_per_hour": machine.usd_per_hour,
        "created_at": machine.created_at.isoformat(),
        "gone_at": None if machine.gone_at is None else machine.gone_at.isoformat(),
        "end_reason": machine.end_reason or None,
        "last_error": machine.last_error or None,
    }
