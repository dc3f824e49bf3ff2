"""Opens one SSH connection: the way there, the hosts' keys, and a key of the user's that fits.

Every machine on the way, jump hosts as well, is held to the same rules: its host key is looked up
first, and then nothing but that key is accepted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import asyncssh

from tui.services.ssh import host_keys
from tui.services.ssh.asker import Asker
from tui.services.ssh.attempt import OnLost
from tui.services.ssh.machine import Machine
from tui.services.ssh.options import SshOptions
from tui.services.ssh.route import route
from tui.services.ssh.ssh_config import HostSettings

__all__ = ["OnLost", "ShownKey", "SshOptions", "connect", "scan"]


@dataclass(frozen=True, slots=True)
class ShownKey:
    """The host key that a machine shows."""

    host: str
    key_type: str
    fingerprint: str
    public_key: str
    """As in a .pub file: type and key."""
    is_trusted: bool


async def connect(
    options: SshOptions, asker: Asker | None = None, *, on_lost: OnLost | None = None
) -> asyncssh.SSHClientConnection:
    """A connection that is logged in; jump hosts on the way close with it.

    `on_lost` is told once about its end: None if it was closed here, else why. `close()` first
    sends what is still to be sent; a link that is dead needs `abort()`.

    Raises:
        HostUnreachable: trying again may help.
        SshRefused: it does not: UnknownHostKey, HostKeyChanged, PassphraseNeeded, no key fits ...
    """
    *jumps, target = await _route(options)
    before = await _through(options, jumps, asker)
    try:
        return await Machine(options, target, asker, before).connection(on_lost)
    except BaseException:
        if before is not None:
            before.abort()
        raise


async def scan(options: SshOptions) -> ShownKey:
    """The key that the machine shows now; nobody logs in, except at jump hosts.

    Raises:
        HostUnreachable, SshRefused: as `connect`; an unknown key is no error here.
    """
    *jumps, target = await _route(options)
    before = await _through(options, jumps, None)
    try:
        machine = Machine(options, target, None, before)
        key = await machine.shown_key()
        is_trusted = key in await machine.trusted_keys()
    finally:
        if before is not None:
            before.abort()
    return ShownKey(
        machine.label,
        host_keys.key_type(key),
        host_keys.fingerprint(key),
        host_keys.public_line(key),
        is_trusted,
    )


async def _route(options: SshOptions) -> list[HostSettings]:
    return await asyncio.to_thread(route, options.address, options.config_paths)


async def _through(
    options: SshOptions, jumps: list[HostSettings], asker: Asker | None
) -> asyncssh.SSHClientConnection | None:
    """The connection to the last of the jump hosts; None if there is none."""
    before: asyncssh.SSHClientConnection | None = None
    try:
        for jump in jumps:
            before = await Machine(options, jump, asker, before).connection()
    except BaseException:
        if before is not None:
            before.abort()
        raise
    return before
