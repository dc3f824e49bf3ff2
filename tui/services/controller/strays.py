"""Machines that the ledger has given up and the provider lists all the same: they are ended.

A name that was proved absent may appear after all, where a provider's list lags behind for long.
What has our mark but stands in no ledger is only told: somebody else may still know it.
"""

from __future__ import annotations

from shared.errors import ProviderError
from shared.events import utc_now
from shared.rental import Machine
from shared.store.rentals import Rentals
from tui.services.controller.machine_names import mark_prefix
from tui.services.controller.sightings import Sightings
from tui.services.controller.work import Office
from tui.services.providers.provider import MachineStatus, RentedMachine


class Strays:
    """What one controller has found; each stray is told once."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._rentals: Rentals = office.session.store.rentals
        self._told: set[str] = set()

    async def look(self, sightings: Sightings) -> None:
        """End strays of the ledger, and tell of unknown machines with our mark."""
        if not sightings.is_known:
            return
        prefix = mark_prefix(self._office.mark)
        for seen in sightings.machines:
            if not seen.name.startswith(prefix) or seen.status is MachineStatus.TERMINATED:
                continue
            machine = await self._rentals.machine(seen.name)
            if machine is None:
                self._tell_once(seen, "is in no ledger; `brightrun machines` shows it")
            elif not machine.state.may_exist:
                await self._end(machine, seen)

    async def _end(self, machine: Machine, seen: RentedMachine) -> None:
        gone_at = machine.gone_at
        if gone_at is not None and seen.machine_id == machine.machine_id:
            # An ended machine may be listed a little longer: only its id says who it is.
            age_s = (utc_now() - gone_at).total_seconds()
            if age_s < self._office.settings.absence_grace_s:
                return
        self._tell_once(seen, "was given up, but is there: it is being ended")
        message = f"{seen.name} ({seen.machine_id}) appeared after all; it is being ended"
        await self._rentals.note(machine.job_id, utc_now(), message, "error")
        try:
            await self._office.provider.end(seen.machine_id)
        except ProviderError as error:
            self._office.tell(f"{seen.name}: {error}")

    def _tell_once(self, seen: RentedMachine, what: str) -> None:
        if seen.name not in self._told:
            self._told.add(seen.name)
            price = f"${seen.usd_per_hour:.2f} an hour"
            self._office.tell(f"{seen.name} ({seen.machine_id}, {price}) {what}.")
