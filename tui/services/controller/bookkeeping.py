"""Once an hour, for whoever leads: the bills of machines that are gone, and volumes that are kept.

Nothing waits for it, and nothing that it cannot learn keeps a job from going on.
"""

from __future__ import annotations

import asyncio
import logging
import time

from shared.errors import ProviderError, StoreError
from shared.events import utc_now
from shared.store.store import Store
from tui.services.providers.provider import Provider
from tui.services.spending import reconcile

logger = logging.getLogger(__name__)

VOLUMES_EVERY_S = 3600.0
_LOOK_EVERY_S = 60.0
"""For what is due; two queries."""


class BillWatch:
    """Says whether there is a bill to ask for, without looking into the store all the time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._look_at = 0.0

    async def is_due(self) -> bool:
        """Raises: StoreError."""
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        return bool(await reconcile.due_machines(self._store, utc_now()))


class Bookkeeper:
    """One controller's; a failure is tried again with the next look."""

    def __init__(self, store: Store, provider: Provider, pause_s: float) -> None:
        self._store = store
        self._provider = provider
        self._pause_s = pause_s
        self._volumes_at = 0.0
        self.has_looked = False
        """True once what was due at the beginning was asked for, answered or not."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except (ProviderError, StoreError) as error:
                logger.warning("bills and volumes: %s", error)
            except Exception:
                # A defect: it must not keep machines from being ended.
                logger.exception("bills and volumes")
            self.has_looked = True
            await asyncio.sleep(self._pause_s)

    async def look(self) -> None:
        """Ask for what is due.

        Raises:
            ProviderError: the provider does not answer.
        """
        store, provider, now = self._store, self._provider, utc_now()
        due = await reconcile.due_machines(store, now)
        await reconcile.ask_for_bills(store, provider, due, now)
        if time.monotonic() >= self._volumes_at or await reconcile.new_volumes(store):
            # First, so that a provider that does not answer is not asked in a loop.
            self._volumes_at = time.monotonic() + VOLUMES_EVERY_S
            await reconcile.note_volumes(store, provider, now)
