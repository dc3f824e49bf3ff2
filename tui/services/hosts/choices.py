"""The hosts that a form offers: those that are known, and the names in ~/.ssh/config."""

from __future__ import annotations

import asyncio

from shared.clean_text import clean_line
from shared.store.store import Store
from tui.services.hosts.hosts import suggested_hosts
from tui.services.hosts.names import RUNPOD
from tui.services.machines import known_machines


async def host_choices(store: Store) -> list[str]:
    """This machine, a rented one, those that jobs ran on, then those of ~/.ssh/config.

    A name with control characters is left out: it would be drawn as it is.

    Raises:
        StoreError: the store cannot be read.
    """
    local, *known = await known_machines(store)
    names = [local, RUNPOD, *known, *await asyncio.to_thread(suggested_hosts)]
    return [name for name in dict.fromkeys(names) if clean_line(name) == name]
