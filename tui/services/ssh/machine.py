"""One machine on the way: its host key first, then a key of the user's that it takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh

from shared.errors import HostKeyChanged, SshRefused, UnknownHostKey
from tui.services.ssh import authentication, host_keys
from tui.services.ssh.asker import Asker
from tui.services.ssh.attempt import Attempt, OnLost
from tui.services.ssh.failures import translated
from tui.services.ssh.host_keys import TrustedKeys
from tui.services.ssh.options import SshOptions
from tui.services.ssh.ssh_config import HostSettings

_RING = authentication.KeyRing()
"""A key that was unlocked once stays so for as long as this process lives."""


class Machine:
    """Reached through the connection `before` it, if there is one."""

    def __init__(
        self,
        options: SshOptions,
        settings: HostSettings,
        asker: Asker | None = None,
        before: asyncssh.SSHClientConnection | None = None,
    ) -> None:
        self._options = options
        self._settings = settings
        self._asker = asker
        self._before = before

    @property
    def label(self) -> str:
        return self._settings.label

    async def connection(self, on_lost: OnLost | None = None) -> asyncssh.SSHClientConnection:
        """Logged in, to a machine that showed a trusted key."""
        with translated(self.label):
            while True:
                trusted = await self.trusted_keys()
                if trusted:
                    try:
                        return await self._logged_in(trusted, on_lost)
                    except _OtherKeyShown as error:
                        shown = error.key
                    if trusted.keys:
                        raise self._changed(trusted, shown)
                else:
                    shown = await self._shown_key(trusted)
                await self._become_trusted(shown)

    async def trusted_keys(self) -> TrustedKeys:
        """What our file and the user's say about it."""
        name = self._settings.known_name
        ours = self._options.known_hosts_path
        return await asyncio.to_thread(host_keys.trusted_keys, name, ours, self._users_files)

    async def shown_key(self) -> asyncssh.SSHKey:
        """The host key that it shows, trusted or not; nobody logs in."""
        with translated(self.label):
            return await self._shown_key(await self.trusted_keys())

    @property
    def _users_files(self) -> tuple[Path, ...]:
        configured = self._settings.user_known_hosts
        return self._options.user_known_hosts_paths if configured is None else configured

    def _attempt(self) -> Attempt:
        return Attempt(self._options, self._settings, self._before)

    async def _shown_key(self, trusted: TrustedKeys) -> asyncssh.SSHKey:
        attempt = self._attempt()
        try:
            # With nothing to trust it ends at the host key, before anything is said about a user.
            nothing = TrustedKeys(revoked=trusted.revoked)
            connection = await attempt.connection(nothing, [])
        except asyncssh.HostKeyNotVerifiable:
            if attempt.shown_key is None:
                raise
            return attempt.shown_key
        connection.abort()
        raise SshRefused(f"{self.label}: the server shows no host key.")

    async def _become_trusted(self, key: asyncssh.SSHKey) -> None:
        """Returns once our file has the key."""
        key_type, fingerprint = host_keys.key_type(key), host_keys.fingerprint(key)
        accepted = self._options.accept_host_key
        why = ""
        if await self._is_known_without_port(key):
            is_trusted = True
        elif accepted is not None:
            is_trusted = fingerprint == accepted.strip()
            why = "It is not the key that --accept-host-key names. Compare it with what is expected"
        else:
            is_trusted = self._asker is not None and await self._asker.trust_host_key(
                self.label, key_type, fingerprint
            )
        if not is_trusted:
            public_line = host_keys.public_line(key)
            raise UnknownHostKey(self.label, key_type, fingerprint, public_line, why)
        path = self._options.known_hosts_path
        await asyncio.to_thread(host_keys.trust, self._settings.known_name, key, path)

    async def _is_known_without_port(self, key: asyncssh.SSHKey) -> bool:
        """As OpenSSH does: the very same key under the same name, on sshd's usual port."""
        name = self._settings.name_without_port
        if name is None:
            return False
        paths = self._users_files
        return key in await asyncio.to_thread(host_keys.trusted_keys, name, None, paths)

    def _changed(self, trusted: TrustedKeys, shown: asyncssh.SSHKey) -> HostKeyChanged:
        before = trusted.nearest(shown)
        return HostKeyChanged(
            self.label,
            fingerprint=host_keys.fingerprint(shown),
            trusted_fingerprint=host_keys.fingerprint(before.key),
            path=str(before.path),
            line_number=before.line_number,
        )

    async def _logged_in(
        self, trusted: TrustedKeys, on_lost: OnLost | None
    ) -> asyncssh.SSHClientConnection:
        while True:
            async with authentication.offer(self._settings, _RING) as offer:
                attempt = self._attempt()
                try:
                    connection = await attempt.connection(trusted, offer.keys)
                    attempt.tell(on_lost)
                    return connection
                except asyncssh.HostKeyNotVerifiable:
                    if attempt.shown_key is None:
                        raise
                    raise _OtherKeyShown(attempt.shown_key) from None
                except authentication.KeyLocked as locked:
                    path = locked.path
                except asyncssh.PermissionDenied:
                    if not offer.opaque:
                        self._raise_if_without_key(offer)
                        raise
                    path = offer.opaque[0]
            await _RING.unlock(path, self._asker)

    def _raise_if_without_key(self, offer: authentication.Offer) -> None:
        if not offer.keys:
            raise SshRefused(
                f"{self.label}: there is no key to log in with: an ssh-agent holds none, and "
                "neither ~/.ssh nor an IdentityFile of ~/.ssh/config has one."
            )


class _OtherKeyShown(Exception):
    """The machine is none of those that are trusted."""

    def __init__(self, key: asyncssh.SSHKey) -> None:
        self.key = key
        super().__init__(host_keys.fingerprint(key))
