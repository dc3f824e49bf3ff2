"""What every use of the console needs: the store, this machine's host, and the mirror between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.store.store import Store, open_store
from tui.config import Config, load_config
from tui.services.hosts.local import LocalHost
from tui.services.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command, or of the full-screen console."""

    store: Store
    host: LocalHost
    mirror: Mirror


@asynccontextmanager
async def open_session(config: Config | None = None) -> AsyncIterator[Session]:
    """Open the user's store; starts nothing.

    Raises:
        StoreError: the database cannot be used.
    """
    config = config or load_config()
    async with open_store(config.database_path) as store:
        host = LocalHost(config.agent_root)
        yield Session(store, host, Mirror(store, host))
