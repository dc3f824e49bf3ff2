"""Every rented machine of this store: what the provider lists with our mark, and what the ledger
says may still be paid for.

Machines without our mark belong to somebody else: they are never listed and never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from shared.errors import InvalidInput, ProviderError, UnknownJob
from shared.events import utc_now
from shared.rental import Machine, MachinePurpose, MachineState
from shared.store.store import Store
from shared.store.stored import StoredJob
from tui.services.controller.machine_names import job_of
from tui.services.controller.settings import ABSENCES
from tui.services.hosts.host import Step, in_silence
from tui.services.providers.provider import MachineStatus, Provider, RentedMachine
from tui.services.session import Session

_POLL_S = 3.0
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class FleetMachine:
    """One machine of ours, in the ledger, at the provider, or in both."""

    name: str
    job_id: str
    job: StoredJob | None
    """None where the store does not know the job."""
    known: Machine | None
    seen: RentedMachine | None
    serves: bool
    """True if it is the machine that an open job has now, or is being ended for it."""

    @property
    def machine_id(self) -> str | None:
        """The provider's."""
        if self.seen is not None:
            return self.seen.machine_id
        return None if self.known is None else self.known.machine_id

    @property
    def status(self) -> MachineStatus | None:
        """The provider's word; None where it does not list the machine."""
        return None if self.seen is None else self.seen.status

    @property
    def label(self) -> str:
        """What was asked for."""
        if self.known is not None:
            return self.known.label
        return f"{self.seen.gpu_count}x {self.seen.gpu_id}" if self.seen else self.name

    @property
    def usd_per_hour(self) -> float:
        if self.seen is not None:
            return self.seen.usd_per_hour
        return 0.0 if self.known is None else self.known.usd_per_hour

    @property
    def is_mine(self) -> bool:
        """By its name's mark: always true here."""
        return True

    @property
    def is_orphan(self) -> bool:
        """It is paid for, and no open job wants it."""
        return self.seen is not None and not self.serves

    def cost_usd(self, now: datetime) -> float | None:
        """So far; None for one whose beginning nobody knows."""
        if self.known is not None:
            return self.known.cost_usd(now)
        if self.seen is None or self.seen.created_at is None:
            return None
        return (now - self.seen.created_at).total_seconds() / 3600 * self.seen.usd_per_hour


async def our_machines(session: Session, provider: Provider) -> list[FleetMachine]:
    """All that may be paid for, orphans first, then the oldest.

    Raises:
        ProviderError: the list is not to be had; `ledger_machines` says what is known.
    """
    seen = [m for m in await provider.machines() if m.status is not MachineStatus.TERMINATED]
    return await _merged(session.store, seen)


async def ledger_machines(session: Session) -> list[FleetMachine]:
    """What the ledger alone knows, while the provider does not answer."""
    return await _merged(session.store, [])


async def end_machine(
    session: Session,
    provider: Provider,
    machine: FleetMachine,
    on_step: Step = in_silence,
    *,
    poll_s: float = _POLL_S,
) -> None:
    """Terminate it and wait until its absence is proved; the ledger knows of it first.

    Raises:
        InvalidInput: an open job uses it: cancel that one.
        ProviderError: it may live on; the message says why.
    """
    if machine.serves and machine.job is not None:
        raise InvalidInput(
            f"{machine.name} serves {machine.job_id}: `brightrun cancel {machine.job_id}` ends "
            "both in good order."
        )
    known = await _write_down(session, machine)
    absences = 0
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while absences < ABSENCES:
        if machine.machine_id is not None and absences == 0:
            on_step(f"ending {machine.name}")
            await provider.end(machine.machine_id)
        there = await _is_there(provider, machine)
        absences = 0 if there else absences + 1
        on_step("it is still there" if there else f"absent, {absences} of {ABSENCES} looks")
        if absences < ABSENCES:
            if asyncio.get_running_loop().time() > deadline:
                raise ProviderError(
                    f"{machine.machine_id} was ended {_PATIENCE_S:.0f} s ago and is still listed: "
                    "end it in the provider's console."
                )
            await asyncio.sleep(poll_s)
    state = MachineState.GONE if machine.machine_id else MachineState.NEVER
    if known is not None:
        await session.store.rentals.save_machine(replace(known, state=state, gone_at=utc_now()))


async def reap(
    session: Session,
    provider: Provider,
    on_step: Step = in_silence,
    *,
    poll_s: float = _POLL_S,
    may_end: Callable[[FleetMachine], bool] = lambda machine: True,
) -> list[FleetMachine]:
    """End every orphan; returns those that were ended.

    Raises:
        ProviderError: some may live on.
    """
    orphans = [m for m in await our_machines(session, provider) if m.is_orphan and may_end(m)]
    for orphan in orphans:
        await end_machine(session, provider, orphan, on_step, poll_s=poll_s)
    return orphans


async def _merged(store: Store, seen: list[RentedMachine]) -> list[FleetMachine]:
    mark = await store.rentals.mark()
    open_states = [state for state in MachineState if state.may_exist]
    known = {machine.name: machine for machine in await store.rentals.machines()}
    ours = {machine.name: machine for machine in seen if job_of(machine.name, mark) is not None}
    names = [name for name, machine in known.items() if machine.state in open_states]
    serving = {stored.rental.machine for stored in await store.rentals.open_ones()}
    fleet = []
    for name in dict.fromkeys([*ours, *names]):
        job_id = known[name].job_id if name in known else job_of(name, mark)
        assert job_id is not None, "a machine of ours is named after its job"
        job = await _job(store, job_id)
        serves = name in serving or (name in known and _visits_a_volume(known[name]))
        fleet.append(FleetMachine(name, job_id, job, known.get(name), ours.get(name), serves))
    return sorted(fleet, key=lambda machine: (not machine.is_orphan, machine.name))


_VISITS_S = {MachinePurpose.RESCUE: 3600.0, MachinePurpose.CACHE: 6 * 3600.0}
"""How long a machine that was rented for a volume may be at work: a base model is large."""


def _visits_a_volume(machine: Machine) -> bool:
    """True while a command of ours may still be at work there."""
    age_s = (utc_now() - machine.created_at).total_seconds()
    return machine.state is MachineState.RENTED and age_s < _VISITS_S.get(machine.purpose, 0.0)


async def _job(store: Store, job_id: str) -> StoredJob | None:
    try:
        return await store.get_job(job_id)
    except UnknownJob:
        return None


async def _write_down(session: Session, machine: FleetMachine) -> Machine | None:
    known = machine.known
    if known is None:
        return None
    ending = replace(
        known,
        state=MachineState.ENDING,
        machine_id=machine.machine_id,
        ending_at=known.ending_at or utc_now(),
        end_reason=known.end_reason or "ended by hand",
    )
    return await session.store.rentals.save_machine(ending)


async def _is_there(provider: Provider, machine: FleetMachine) -> bool:
    if machine.machine_id is not None:
        found = await provider.machine(machine.machine_id)
        if found is not None and found.status is not MachineStatus.TERMINATED:
            return True
    return any(
        seen.name == machine.name and seen.status is not MachineStatus.TERMINATED
        for seen in await provider.machines()
    )
