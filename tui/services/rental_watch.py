"""Tells one listener how every rented job stands: its phase, its machines, its ledger's new lines.

It reads the store and nothing else, so a console that only watches sees what another one's
controller does. It knows no provider and no screen.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from shared.errors import StoreError
from shared.money.projection import Outlook
from shared.rental import Lease, LedgerEntry, Machine, Rental, RentalPhase
from shared.store.rentals import StoredRental
from shared.store.store import Store
from tui.services.spending.outlook import outlook_of

_POLL_S = 1.0
"""Two queries of about a millisecond each where nothing is rented (measured 2026-11)."""


@dataclass(frozen=True, slots=True)
class RentalSight:
    """A rented job as of now."""

    stored: StoredRental
    machines: tuple[Machine, ...] = ()
    """All that were asked for, oldest first."""
    fresh: tuple[LedgerEntry, ...] = ()
    """Lines of the ledger since the last sight; all of them in the first one."""
    outlook: Outlook | None = None
    """What was forecast for it; None where nothing was."""

    @property
    def job_id(self) -> str:
        return self.stored.job_id

    @property
    def rental(self) -> Rental:
        return self.stored.rental

    @property
    def usd_per_hour(self) -> float:
        """Of all its machines that may be paid for."""
        return sum(machine.usd_per_hour for machine in self.machines if _is_paid(machine))

    def cost_usd(self, now: datetime) -> float:
        """Of all its machines together, up to `now`."""
        return sum(machine.cost_usd(now) for machine in self.machines)


class RentalWatch:
    """The one place of a console that follows the ledger."""

    def __init__(
        self, store: Store, listener: Callable[[RentalSight], None], *, poll_s: float = _POLL_S
    ) -> None:
        self._store = store
        self._rentals = store.rentals
        self._tell = listener
        self._poll_s = poll_s
        self._known: dict[str, RentalSight] = {}
        self._seqs: defaultdict[str, int] = defaultdict(int)
        self._look = asyncio.Event()
        self.lease: Lease | None = None
        """Who leads, or led last."""

    def look_now(self) -> None:
        """Do not wait for the next look: this process has just changed something."""
        self._look.set()

    async def run(self, on_look: Callable[[], None] = lambda: None) -> None:
        """Follow until cancelled; a store that cannot be read is tried again.

        `on_look` is called after each look that went well.
        """
        while True:
            self._look.clear()
            # Whoever follows the jobs complains about the store.
            with suppress(StoreError):
                await self.look()
                on_look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._look.wait()

    async def look(self) -> None:
        """Tell of every rented job that differs from what was told of it last.

        Raises:
            StoreError: the store cannot be read.
        """
        self.lease = await self._rentals.lease()
        open_ones = {stored.job_id: stored for stored in await self._rentals.open_ones()}
        for job_id in await self._wanted(open_ones):
            stored = open_ones.get(job_id) or await self._rentals.get(job_id)
            if stored is not None:
                await self._look_at(stored)

    async def _wanted(self, open_ones: dict[str, StoredRental]) -> list[str]:
        """At first all that ever rented something; later those that may still change."""
        if not self._known:
            machines = await self._rentals.machines()
            return list(dict.fromkeys([*(item.job_id for item in machines), *open_ones]))
        restless = [job_id for job_id, sight in self._known.items() if _may_change(sight)]
        return list(dict.fromkeys([*restless, *open_ones]))

    async def _look_at(self, stored: StoredRental) -> None:
        job_id = stored.job_id
        machines = tuple(await self._rentals.machines(job_id))
        fresh = tuple(await self._rentals.ledger(job_id, self._seqs[job_id]))
        if fresh:
            self._seqs[job_id] = fresh[-1].seq
        known = self._known.get(job_id)
        outlook = None if known is None else known.outlook
        outlook = outlook or await outlook_of(self._store, job_id)
        sight = RentalSight(stored, machines, fresh, outlook)
        self._known[job_id] = sight
        if known is None or fresh or (known.stored, known.machines) != (stored, machines):
            self._tell(sight)


def _may_change(sight: RentalSight) -> bool:
    """It is not done, or was not at the last look, or somebody may still pay for a machine."""
    is_open = sight.rental.phase is not RentalPhase.DONE
    return is_open or any(machine.state.may_exist for machine in sight.machines)


def _is_paid(machine: Machine) -> bool:
    return machine.state.may_exist and machine.rented_at is not None
