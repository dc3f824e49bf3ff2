"""Who may act: one process of those with this store, for as long as it renews its lease."""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import time
from datetime import timedelta

from shared.errors import StoreError
from shared.events import utc_now
from shared.rental import Lease
from shared.store.rentals import CONTROLLER_LEASE, Rentals


class Leadership:
    """One candidate for the lease."""

    def __init__(
        self, rentals: Rentals, kind: str, lease_s: float, name: str = CONTROLLER_LEASE
    ) -> None:
        self._rentals = rentals
        self._name = name
        self._owner = secrets.token_hex(8)
        self._label = f"{kind} on {platform.node() or 'this machine'} (pid {os.getpid()})"
        self._lease_s = lease_s
        self._renewed_at = -lease_s
        self.lease: Lease | None = None
        """Of whoever leads."""

    @property
    def leads(self) -> bool:
        """True while nobody else can; the clock goes on while a laptop sleeps."""
        return self.remaining_s > 0

    @property
    def remaining_s(self) -> float:
        """Until another may lead."""
        return self._renewed_at + self._lease_s - _clock_s()

    async def renew(self) -> bool:
        """Take or renew the lease; False where somebody else has it, or the store is ill."""
        asked_at = _clock_s()
        try:
            self.lease = await self._rentals.take_lease(
                self._owner, self._label, utc_now(), timedelta(seconds=self._lease_s), self._name
            )
        except StoreError:
            return self.leads
        if self.lease.owner == self._owner:
            self._renewed_at = asked_at
        else:
            self._renewed_at = asked_at - self._lease_s
        return self.leads

    async def give_up(self) -> None:
        """Let another lead at once."""
        self._renewed_at = -self._lease_s
        try:
            async with asyncio.timeout(5):
                await self._rentals.drop_lease(self._owner, utc_now())
        except (StoreError, TimeoutError):
            return


def _clock_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
