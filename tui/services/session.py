"""What every use of the console needs: the store, the hosts, and the mirror between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.store.store import Store, open_store
from shared.store.stored import StoredJob
from tui.config import Config, load_config
from tui.services.hosts.host import Host
from tui.services.hosts.hosts import Hosts
from tui.services.mirror import Mirror
from tui.services.ssh.asker import Asker


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command, or of the full-screen console."""

    store: Store
    hosts: Hosts
    mirror: Mirror

    def host_of(self, job: StoredJob) -> Host:
        """Where the job runs."""
        return self.hosts.get(job.host)


@asynccontextmanager
async def open_session(
    config: Config | None = None,
    *,
    asker: Asker | None = None,
    accept_host_key: str | None = None,
) -> AsyncIterator[Session]:
    """Open the user's store; starts and connects nothing. The rest is as for `Hosts`.

    Raises:
        StoreError: the database cannot be used.
    """
    config = config or load_config()
    async with open_store(config.database_path) as store:
        hosts = Hosts(config, asker=asker, accept_host_key=accept_host_key)
        try:
            yield Session(store, hosts, Mirror(store, hosts.get))
        finally:
            await hosts.close()
