"""One try at one machine: everything that asyncssh is told, in one place."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import asyncssh

from shared.clean_text import clean_line
from shared.errors import AgentError, HostUnreachable, SshRefused
from tui.services.ssh.failures import FOREIGN_ERRORS, translation
from tui.services.ssh.host_keys import TrustedKeys
from tui.services.ssh.options import SshOptions
from tui.services.ssh.proxy_command import ProxyCommand
from tui.services.ssh.ssh_config import HostSettings

OnLost = Callable[[AgentError | None], None]


class Attempt:
    """Use it once."""

    def __init__(
        self,
        options: SshOptions,
        settings: HostSettings,
        before: asyncssh.SSHClientConnection | None,
    ) -> None:
        self._options = options
        self._settings = settings
        self._before = before
        self._client = _Client(settings.label)

    @property
    def shown_key(self) -> asyncssh.SSHKey | None:
        """The host key that the machine showed, if it was not trusted."""
        return self._client.shown_key

    async def connection(
        self, trusted: TrustedKeys, keys: Sequence[asyncssh.SSHKeyPair]
    ) -> asyncssh.SSHClientConnection:
        """Logged in with one of the keys, to a machine with one of the trusted keys.

        Raises asyncssh's errors, for the caller to look at, and those of the way there translated.
        """
        if self._before is not None or self._settings.proxy_command is None:
            return self._with_tunnel(await self._within_time(trusted, keys), self._before)
        proxy = ProxyCommand.start(self._settings.proxy_command)
        try:
            connection = await self._within_time(trusted, keys, proxy.socket)
            return self._with_tunnel(connection, proxy)
        except BaseException as error:
            proxy.close()
            if proxy.complaint and isinstance(error, asyncssh.ConnectionLost | ConnectionError):
                raise self._proxy_failed(proxy.complaint) from error
            raise

    def _with_tunnel(
        self,
        connection: asyncssh.SSHClientConnection,
        tunnel: asyncssh.SSHClientConnection | ProxyCommand | None,
    ) -> asyncssh.SSHClientConnection:
        """What leads there is this connection's alone: it goes when this connection goes."""
        if self._client.is_over:
            raise self._client.lost or asyncssh.ConnectionLost("closed by the server")
        connection.set_tunnel(tunnel)
        return connection

    def _proxy_failed(self, complaint: str) -> HostUnreachable:
        return HostUnreachable(
            f"{self._settings.label}: the ProxyCommand of ~/.ssh/config failed: {complaint}"
        )

    def tell(self, on_lost: OnLost | None) -> None:
        """Have `on_lost` told about the end of the connection, from now on."""
        self._client.on_lost = on_lost

    async def _within_time(
        self,
        trusted: TrustedKeys,
        keys: Sequence[asyncssh.SSHKeyPair],
        sock: socket.socket | None = None,
    ) -> asyncssh.SSHClientConnection:
        loop = asyncio.get_running_loop()
        login_timeout_s = self._options.login_timeout_s
        try:
            async with asyncio.timeout(self._options.connect_timeout_s) as deadline:
                self._client.on_reached = lambda: deadline.reschedule(loop.time() + login_timeout_s)
                return await self._open(trusted, keys, sock)
        except TimeoutError as error:
            if not self._client.is_reached:
                raise
            raise HostUnreachable(
                f"{self._settings.label}: something answers there, but SSH did not get through "
                f"within {login_timeout_s:.0f} s: is the port right? Try again."
            ) from error
        except ValueError as error:
            if isinstance(error, FOREIGN_ERRORS):
                raise
            # asyncssh's own checks, of names and options and of what the server sent.
            what = "what answers there is no SSH server" if self._client.is_reached else "no host"
            raise SshRefused(
                f"{self._settings.label}: {what} ({clean_line(str(error))})."
            ) from error

    async def _open(
        self,
        trusted: TrustedKeys,
        keys: Sequence[asyncssh.SSHKeyPair],
        sock: socket.socket | None = None,
    ) -> asyncssh.SSHClientConnection:
        address = self._settings.address
        return await asyncssh.connect(
            address.host,
            address.port if address.port is not None else (),
            username=address.user if address.user is not None else (),
            config=[str(path) for path in self._options.config_paths if path.is_file()],
            client_factory=lambda: self._client,
            tunnel=self._before,
            proxy_command=None,
            sock=sock,
            known_hosts=trusted.known_hosts,
            server_host_key_algs=trusted.algorithms,
            x509_trusted_certs=None,
            # None, because asyncssh takes an empty list for the usual files in ~/.ssh.
            client_keys=list(keys) or None,
            client_certs=[],
            agent_path=None,
            agent_identities=None,
            preferred_auth="publickey",
            gss_host=None,
            connect_timeout=None,
            login_timeout=0,
            keepalive_interval=self._options.keepalive_interval_s,
            keepalive_count_max=self._options.keepalive_count_max,
            # What a configuration made for people asks for, and programs must not have.
            agent_forwarding=False,
            x11_forwarding=False,
            canonicalize_hostname=False,
            request_pty=False,
            command=None,
            env=None,
            send_env=None,
        )


class _Client(asyncssh.SSHClient):
    """Notes what happens; never trusts a key by itself."""

    def __init__(self, label: str) -> None:
        self.shown_key: asyncssh.SSHKey | None = None
        self.is_reached = False
        self.on_reached: Callable[[], None] = lambda: None
        self.on_lost: OnLost | None = None
        self.is_over = False
        self.lost: Exception | None = None
        self._label = label

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.is_reached = True
        self.on_reached()

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        # asyncssh asks this about unknown and about changed keys alike: one answer is safe.
        self.shown_key = key
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self.lost = exc
        if self.on_lost is None:
            return
        if isinstance(exc, FOREIGN_ERRORS):
            self.on_lost(translation(exc, self._label))
        elif exc is not None:
            self.on_lost(HostUnreachable(f"{self._label}: the connection broke: {exc!r}."))
        else:
            self.on_lost(None)
