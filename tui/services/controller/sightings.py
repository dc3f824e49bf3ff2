"""What one look at the provider's list showed; one request serves every job."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from shared.errors import ProviderError, ProviderUnauthorized
from shared.rental import Machine
from tui.services.controller.settings import ControllerSettings, growing_pause_s
from tui.services.providers.provider import MachineStatus, Provider, RentedMachine


@dataclass(frozen=True, slots=True)
class Sightings:
    """The machines of the account as of one moment, or why they are not known."""

    number: int = 0
    """Counts the looks, so that two misses are two looks."""
    began_at: float = 0.0
    """On the monotonic clock, when it was asked."""
    machines: tuple[RentedMachine, ...] = ()
    error: ProviderError | None = None

    @property
    def is_known(self) -> bool:
        return self.number > 0 and self.error is None

    @property
    def is_key_refused(self) -> bool:
        return isinstance(self.error, ProviderUnauthorized)

    def of(self, machine: Machine) -> RentedMachine | None:
        """The machine as the provider has it; by its id, or by its name while there is none."""
        for seen in self.machines:
            if seen.status is MachineStatus.TERMINATED:
                continue
            if seen.machine_id == machine.machine_id or seen.name == machine.name:
                return seen
        return None


class Lookout:
    """Looks again and again; whoever needs a fresh look waits for the next one."""

    def __init__(self, provider: Provider, settings: ControllerSettings) -> None:
        self._provider = provider
        self._settings = settings
        self.latest = Sightings()
        self._next = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            self._hurry.clear()
            self.latest = await self._look()
            arrived, self._next = self._next, asyncio.Event()
            arrived.set()
            failures = failures + 1 if self.latest.error else 0
            await self._pause(failures)

    async def following(self) -> Sightings:
        """A look that begins after this call."""
        asked_at = time.monotonic()
        while self.latest.began_at < asked_at:
            self._hurry.set()
            await self._next.wait()
        return self.latest

    async def _look(self) -> Sightings:
        number, began_at = self.latest.number + 1, time.monotonic()
        try:
            machines = await self._provider.machines()
        except ProviderError as error:
            return Sightings(number, began_at, self.latest.machines, error)
        return Sightings(number, began_at, tuple(machines))

    async def _pause(self, failures: int) -> None:
        tick_s = self._settings.tick_s
        pause_s = tick_s
        retry_after_s = getattr(self.latest.error, "retry_after_s", None)
        if failures:
            longest_s = max(tick_s, self._settings.provider_pause_s)
            pause_s = growing_pause_s(tick_s, failures, longest_s)
            pause_s = max(pause_s, retry_after_s or 0.0)
        hurry = asyncio.create_task(self._hurry.wait()) if not failures else None
        try:
            # At least a fifth of a tick lies between two looks, however many are in a hurry.
            await asyncio.sleep(min(pause_s, tick_s / 5))
            if hurry is None:
                await asyncio.sleep(max(0.0, pause_s - tick_s / 5))
            else:
                await asyncio.wait({hurry}, timeout=max(0.0, pause_s - tick_s / 5))
        finally:
            if hurry is not None:
                hurry.cancel()
