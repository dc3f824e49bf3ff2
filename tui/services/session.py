"""What every use of the console needs: the store, the hosts, and the mirror between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.store.store import Store, open_store
from shared.store.stored import StoredJob
from tui.config import Config, load_config
from tui.services.hosts.host import Host
from tui.services.hosts.hosts import Hosts
from tui.services.mirror import Mirror
from tui.services.providers.provider import Provider
from tui.services.providers.providers import RUNPOD, provider_named
from tui.services.ssh.asker import Asker


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command, or of the full-screen console."""

    config: Config
    store: Store
    hosts: Hosts
    mirror: Mirror
    _providers: dict[str, Provider] = field(default_factory=dict)

    def host_of(self, job: StoredJob) -> Host:
        """Where the job runs."""
        return self.hosts.get(job.host)

    def provider(self, name: str = RUNPOD) -> Provider:
        """The user's account at a provider of machines; connected when it is first used.

        Raises:
            ProviderUnauthorized: there is no key to the account.
        """
        if name not in self._providers:
            self._providers[name] = provider_named(name, self.config)
        return self._providers[name]

    async def close(self) -> None:
        """Let go of every machine and provider; jobs go on."""
        await self.hosts.close()
        for provider in self._providers.values():
            await provider.close()


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
        hosts = Hosts(config, store.rentals, asker=asker, accept_host_key=accept_host_key)
        session = Session(config, store, hosts, Mirror(store, hosts.get))
        try:
            yield session
        finally:
            await session.close()
