"""`brightrun machines` for what is rented: what there is, and how it is ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.clean_text import clean_line
from shared.errors import InvalidInput, ProviderError, ProviderUnauthorized
from shared.events import utc_now
from shared.number_text import many
from tui import exit_codes
from tui.commands.consent import agreed
from tui.commands.output import print_table, say
from tui.commands.steps import shown_steps
from tui.commands.terminal_session import open_terminal_session
from tui.services.controller.fleet import (
    FleetMachine,
    end_machine,
    ledger_machines,
    our_machines,
    reap,
)
from tui.services.hosts.names import RUNPOD
from tui.services.session import Session
from tui.views.fleet_row import FleetRow, fleet_question, fleet_row

_HEADERS = ["MACHINE", "STATE", "WHAT", "JOB", "$/H", "COST", "SINCE"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The rented machines, and why the provider was not asked; "" if it was."""

    machines: tuple[FleetMachine, ...] = ()
    trouble: str = ""


async def fleet_of(session: Session) -> Fleet:
    """As the provider lists them; where it does not answer, as our ledger has them."""
    try:
        return Fleet(tuple(await our_machines(session, session.provider())))
    except (ProviderError, InvalidInput) as error:
        known = tuple(await ledger_machines(session))
        # Whoever never rented anything has no key, and misses none.
        is_quiet = isinstance(error, ProviderUnauthorized) and not known
        return Fleet(known, "" if is_quiet else clean_line(str(error)))


def print_fleet(fleet: Fleet) -> None:
    """A table, orphans first; nothing where nothing is rented."""
    now = utc_now()
    if fleet.machines:
        rows = [_cells(fleet_row(machine, now)) for machine in fleet.machines]
        print_table(_HEADERS, rows, shrinking="WHAT")
        print()
    if fleet.trouble:
        say(f"rented machines are as our ledger has them: {fleet.trouble}")
    if orphans := [machine for machine in fleet.machines if machine.is_orphan]:
        count = many(len(orphans), "machine is", "machines are")
        say(f"{count} paid for and serve no job: `brightrun machines reap` ends them.")


def fleet_to_dicts(fleet: Fleet) -> list[dict[str, Any]]:
    """For --json."""
    now = utc_now()
    return [
        {
            "kind": "rented",
            "name": machine.name,
            "machine_id": machine.machine_id,
            "job_id": machine.job_id,
            "job_status": None if machine.job is None else machine.job.status.value,
            "label": machine.label,
            "status": None if machine.status is None else machine.status.value,
            "ledger_state": None if machine.known is None else machine.known.state.value,
            "is_orphan": machine.is_orphan,
            "usd_per_hour": machine.usd_per_hour,
            "cost_usd": machine.cost_usd(now),
            "created_at": None if machine.known is None else machine.known.created_at.isoformat(),
            "last_error": None if machine.known is None else machine.known.last_error or None,
            "is_listed": None if fleet.trouble else machine.seen is not None,
        }
        for machine in fleet.machines
    ]


async def reap_orphans(*, yes: bool) -> int:
    """End every machine of ours that serves no job; what is agreed to is what was shown."""
    async with open_terminal_session() as session:
        provider = session.provider()
        orphans = [each for each in await our_machines(session, provider) if each.is_orphan]
        if not orphans:
            say("no orphans: every rented machine of this store serves a job.")
            return exit_codes.OK
        for orphan in orphans:
            say(_told(orphan))
        if not agreed(f"End {many(len(orphans), 'machine')}?", yes=yes):
            say("nothing was ended.")
            return exit_codes.CANCELLED
        shown = {orphan.name for orphan in orphans}
        with shown_steps(RUNPOD) as on_step:
            ended = await reap(
                session, provider, on_step, may_end=lambda machine: machine.name in shown
            )
    for machine in ended:
        say(f"{machine.name} is gone.")
    return exit_codes.OK


async def end_one(typed: str, *, yes: bool) -> int:
    """End the machine of this name, id or job."""
    async with open_terminal_session() as session:
        provider = session.provider()
        machine = _called(typed, await our_machines(session, provider))
        if not machine.serves:  # Ending one that serves a job is refused below.
            say(_told(machine))
            if not agreed(f"End {machine.name}?", yes=yes):
                say("nothing was ended.")
                return exit_codes.CANCELLED
        with shown_steps(RUNPOD) as on_step:
            await end_machine(session, provider, machine, on_step)
    say(f"{machine.name} is gone.")
    return exit_codes.OK


async def rescue_adapter(job_id: str, destination: Path, *, yes: bool) -> int:
    """Bring home what is on the job's network volume; prints where it is."""
    from tui.services.controller.rescue import rescue

    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        provider = session.provider()
        question = (
            f"Rent the smallest machine without a GPU for the adapter of {job.job_id}? It costs a "
            "few cents, and is ended at once."
        )
        if not agreed(question, yes=yes):
            say("nothing was rented.")
            return exit_codes.CANCELLED
        with shown_steps(RUNPOD) as on_step:
            directory = await rescue(session, provider, job, destination.expanduser(), on_step)
    say("the adapter is here, and every hash holds:")
    print(directory)
    return exit_codes.OK


def _cells(row: FleetRow) -> list[str]:
    return [row.name, row.state, row.label, row.job, row.price, row.cost, row.since]


def _told(machine: FleetMachine) -> str:
    """What runs there and what it costs, before it is ended."""
    _, detail = fleet_question(machine, utc_now())
    return f"{machine.name}: {detail}"


def _called(typed: str, machines: list[FleetMachine]) -> FleetMachine:
    """The machine that is meant.

    Raises:
        InvalidInput: none of ours is called so, or several are.
    """
    found = [each for each in machines if typed in (each.name, each.machine_id)]
    found = found or [each for each in machines if each.job_id == typed]
    if len(found) == 1:
        return found[0]
    there = ", ".join(each.name for each in found or machines) or "none"
    problem = "several machines" if found else "no machine of this store"
    raise InvalidInput(f"{clean_line(typed)}: {problem}; there are: {there}.")
