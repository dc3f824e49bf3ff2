"""`brightrun machines`: what is rented, and every machine that jobs run on, as of now or as it was
last reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from datetime import datetime
from typing import Any

from shared.events import utc_now
from tui import exit_codes
from tui.commands.output import print_json, print_table, say
from tui.commands.rented_machines import Fleet, fleet_of, fleet_to_dicts, print_fleet
from tui.commands.terminal_session import open_terminal_session
from tui.services.jobs import adopt_jobs
from tui.services.machines import MachineSight, MachineState, look_at_all
from tui.services.session import Session
from tui.views.machine_row import machine_row, state_words

_HEADERS = ["HOST", "STATE", "AGENT", "UP", "GPU", "DISK FREE", "RUNNING", "LAST CONTACT"]


async def list_machines(names: Iterable[str], *, as_json: bool, adopt: bool = False) -> int:
    """Print these machines; without names, all that are known and all that are rented.

    Starts no agent.
    """
    names = list(names)
    async with open_terminal_session() as session:
        fleet = Fleet() if names else await fleet_of(session)
        sights = await look_at_all(session, names)
        if adopt:
            await _adopt(session, sights)
    if as_json:
        print_json([*map(_to_dict, sights), *fleet_to_dicts(fleet)])
        if fleet.trouble:
            say(f"rented machines are as our ledger has them: {fleet.trouble}")
    else:
        print_fleet(fleet)
        now = utc_now()
        rows = [list(astuple(machine_row(sight, now))) for sight in sights]
        print_table(_HEADERS, rows, shrinking="RUNNING")
    for sight in sights:
        for trouble in _troubles(sight):
            say(f"{sight.name}: {trouble}")
    return exit_codes.OK


async def _adopt(session: Session, sights: Iterable[MachineSight]) -> None:
    for sight in sights:
        if sight.state is MachineState.REACHABLE:
            for job in await adopt_jobs(session, sight.name):
                say(f"{sight.name}: {job.job_id} is in this store now ({job.status}).")


def _troubles(sight: MachineSight) -> list[str]:
    if sight.state is MachineState.UNREACHABLE:
        return [f"{state_words(sight)}: {sight.reason}"]
    if sight.state is MachineState.NO_AGENT:
        return [f"no agent yet; `brightrun start --host {sight.name} ...` puts one there."]
    facts = sight.known.facts
    return [f"GPUs unknown: {facts.gpu_trouble}"] if facts and facts.gpu_trouble else []


def _to_dict(sight: MachineSight) -> dict[str, Any]:
    known = sight.known
    return {
        "kind": "host",
        "name": sight.name,
        "state": sight.state.value,
        "reason": sight.reason or None,
        "unreachable_since": _moment(known.unreachable_since),
        "last_contact_at": _moment(known.last_contact_at),
        "agent_version": known.agent_version,
        "agent_id": known.agent_id,
        "agent_started_at": _moment(known.agent_started_at),
        "root": known.root,
        "machine": None if known.facts is None else known.facts.model_dump(mode="json"),
        "running": [{"job_id": job.job_id, "name": job.name} for job in sight.running],
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
