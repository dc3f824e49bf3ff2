"""The hosts of one session, by name; each is connected once, however many jobs it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.store.rentals import Rentals
from tui.config import Config
from tui.services.hosts.host import Host
from tui.services.hosts.local import LocalHost
from tui.services.hosts.names import LOCAL, RUNPOD_PREFIX, SSH_PREFIX, checked_host_name
from tui.services.ssh.asker import Asker

if TYPE_CHECKING:
    from tui.services.hosts.rented import RentedHost


class Hosts:
    """Made where they are first asked for; nothing is connected before it is used."""

    def __init__(
        self,
        config: Config,
        rentals: Rentals,
        *,
        asker: Asker | None = None,
        accept_host_key: str | None = None,
    ) -> None:
        """`asker` answers questions about host keys and passphrases; None: nobody is there.

        `accept_host_key` is the fingerprint (SHA256:...) of a host key to trust unasked.
        """
        self._config = config
        self._rentals = rentals
        self._asker = asker
        self._accept_host_key = accept_host_key
        self._hosts: dict[str, Host] = {}

    def get(self, name: str = LOCAL) -> Host:
        """The host of this name.

        Raises:
            InvalidInput: it names no host.
        """
        name = checked_host_name(name)
        if name not in self._hosts:
            self._hosts[name] = self._made(name)
        return self._hosts[name]

    def rented(self, job_id: str) -> RentedHost:
        """The machine that is rented for the job, whichever it is at the moment."""
        from tui.services.hosts.rented import RentedHost

        name = RUNPOD_PREFIX + job_id
        host = self._hosts.get(name) or RentedHost(job_id, self._rentals, self._config.home)
        assert isinstance(host, RentedHost)
        self._hosts[name] = host
        return host

    async def close(self) -> None:
        """Let go of all; their agents and jobs go on."""
        for host in self._hosts.values():
            await host.close()

    def _made(self, name: str) -> Host:
        if name == LOCAL:
            return LocalHost(self._config.agent_root)
        if name.startswith(RUNPOD_PREFIX):
            return self.rented(name.removeprefix(RUNPOD_PREFIX))
        from tui.services.hosts.ssh import SshHost
        from tui.services.ssh.address import parse_ssh_name
        from tui.services.ssh.options import SshOptions

        options = SshOptions(
            address=parse_ssh_name(name.removeprefix(SSH_PREFIX)),
            known_hosts_path=self._config.known_hosts_path,
            accept_host_key=self._accept_host_key,
        )
        return SshHost(options, base=self._config.remote_base, asker=self._asker)


def suggested_hosts() -> list[str]:
    """What a user may pick: this machine, and the names in ~/.ssh/config."""
    from tui.services.ssh.address import config_hosts

    return [LOCAL, *(SSH_PREFIX + name for name in config_hosts())]
