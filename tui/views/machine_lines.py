"""The machines that were rented for a job, and what was agreed for them, as rows and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.clean_text import clean_line
from shared.machine_request import MachineRequest
from shared.number_text import clock, date_and_clock, duration, many, usd
from shared.rental import Machine, MachineState
from tui.services.rental_watch import RentalSight
from tui.views.image_lines import image_words
from tui.views.rental_status import is_alarming

Pairs = list[tuple[str, str]]

STATE_WORDS = {
    MachineState.INTENDED: "asked for",
    MachineState.RENTED: "rented",
    MachineState.ENDING: "ending",
    MachineState.GONE: "gone",
    MachineState.NEVER: "not to be had",
}

NO_VOLUME = "none: what is on a machine is lost with it"


@dataclass(frozen=True, slots=True)
class MachineLine:
    """One machine of a job."""

    number: str
    label: str
    state: str
    price: str
    cost: str
    since: str
    lasted: str
    why: str
    """Why it was ended, or could not be so far."""
    is_paid: bool
    is_alarming: bool


def machine_lines(machines: Sequence[Machine], now: datetime) -> list[MachineLine]:
    """Oldest first, as they were asked for."""
    return [_line(machine, now) for machine in machines]


def _line(machine: Machine, now: datetime) -> MachineLine:
    end = machine.gone_at or (now if machine.state.may_exist else None)
    seconds = None if end is None else (end - machine.created_at).total_seconds()
    return MachineLine(
        number=str(machine.number),
        label=clean_line(machine.label),
        state=STATE_WORDS[machine.state],
        price=f"{usd(machine.usd_per_hour)}/h",
        cost=usd(machine.cost_usd(now)),
        since=date_and_clock(machine.created_at),
        lasted="–" if seconds is None else duration(max(seconds, 0.0)),
        why=clean_line(machine.last_error or machine.end_reason),
        is_paid=machine.state.may_exist,
        is_alarming=is_alarming(machine, now),
    )


def agreed_pairs(request: MachineRequest) -> Pairs:
    """What the user agreed to before anything was rented."""
    volume = request.network_volume_id
    price = request.network_volume_usd_per_month
    per_month = "" if price is None else f", {usd(price)} a month"
    first, *others = request.candidates
    pairs = [
        ("tried first", f"{first.label}, {usd(first.usd_per_hour)}/h"),
        *(("then", f"{other.label}, {usd(other.usd_per_hour)}/h") for other in others),
        ("budget", f"{usd(request.budget_usd)} for all machines together"),
        ("longest", f"{request.max_duration_hours:g} h from the first machine's start"),
        ("network volume", f"{volume}{per_month}" if volume else NO_VOLUME),
        ("interruptions", interruption_rule(request)),
        ("no stock", f"waits {request.wait_for_stock_hours:g} h, then gives up"),
        ("image", image_words(request)),
        ("disk", f"{request.container_disk_gb} GB, gone with the machine"),
    ]
    return [(name, clean_line(value)) for name, value in pairs]


def interruption_rule(request: MachineRequest) -> str:
    """`up to 3, then it asks`."""
    then = {"ask": "it asks", "next_gpu": "the next GPU type", "stop": "it stops"}
    return f"up to {request.max_interruptions}, then {then[request.after_interruptions.value]}"


def rental_pairs(sight: RentalSight, now: datetime) -> Pairs:
    """Figures of the job's rent for its panel."""
    rental = sight.rental
    pairs = [
        ("cost", usd(sight.cost_usd(now))),
        ("budget", usd(sight.stored.request.budget_usd)),
        ("per hour", f"{usd(sight.usd_per_hour)}" if sight.usd_per_hour else "–"),
        ("interrupted", many(rental.interruptions, "time") if rental.interruptions else "–"),
    ]
    return [(name, clean_line(value)) for name, value in pairs]


def ledger_line(message: str, level: str, time: datetime) -> str:
    """A line of the controller's ledger among a job's events."""
    warned = "" if level == "info" else f"{level}: "
    return f"{clock(time)}  {warned}rent: {clean_line(message)}"
