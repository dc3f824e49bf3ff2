"""The way to a machine that SSH reaches: its name, its port, its key, and ours."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.errors import HostKeyChanged, PassphraseNeeded, UnknownHostKey
from tui.services.doctor.answers import Answers
from tui.services.doctor.checks import Check, Outcome, failure, ok
from tui.services.remote.state import RemoteState, RemoteTools
from tui.services.ssh.asker import Asker
from tui.services.ssh.connection import SshOptions, connect, scan
from tui.services.ssh.remote_shell import SshShell
from tui.services.ssh.route import route
from tui.services.ssh.ssh_config import HostSettings

if TYPE_CHECKING:
    import asyncssh

_BANNER_TIMEOUT_S = 10.0
_LONGEST_BANNER = 80


@dataclass(slots=True)
class Road:
    """The way to one machine, and what was found on it so far."""

    name: str
    options: SshOptions
    base: str
    asker: Asker | None = None
    """Only for passphrases: whom to trust is not a doctor's question."""
    machines: list[HostSettings] = field(default_factory=list)
    """Those of ProxyJump, then the one that is meant."""
    connection: asyncssh.SSHClientConnection | None = None
    state: RemoteState | None = None
    tools: RemoteTools | None = None
    answers: Answers | None = None
    asked_at: float = 0.0
    answered_at: float = 0.0

    @property
    def shell(self) -> SshShell:
        return SshShell(self.name, self._connected)

    @property
    def python(self) -> str:
        """The machine's Python that would be used."""
        assert self.tools is not None, "the check for Python comes first"
        return self.tools.usable[0].path

    async def close(self) -> None:
        """Let go of the machine."""
        if self.connection is not None:
            self.connection.abort()
            self.connection = None

    async def _connected(self) -> asyncssh.SSHClientConnection:
        assert self.connection is not None, "the check for the login comes first"
        return self.connection


async def look_at_configuration(road: Road) -> Outcome:
    """What ~/.ssh/config makes of the name."""
    road.machines = await asyncio.to_thread(route, road.options.address, road.options.config_paths)
    *jumps, target = road.machines
    through = "".join(f" through {jump.label}" for jump in jumps)
    return ok(f"{target.label}{through}")


async def look_at_name(road: Road) -> Outcome:
    """Whether the first machine's name stands for an address."""
    first = road.machines[0]
    if first.proxy_command:
        return ok("left to the ProxyCommand")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(first.host, first.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return failure(
            f"{first.host}: {getattr(error, 'strerror', None) or error}",
            "Is it spelt right? Does it need a HostName in ~/.ssh/config? Is this computer online?",
        )
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return ok(f"{first.host} is {', '.join(addresses)}")


async def look_at_port(road: Road) -> Outcome:
    """Whether an SSH server answers."""
    first = road.machines[0]
    if first.proxy_command:
        return ok("left to the ProxyCommand")
    where = f"port {first.port} of {first.host}"
    try:
        async with asyncio.timeout(_BANNER_TIMEOUT_S):
            banner = await _banner(first.host, first.port)
    except TimeoutError:
        return failure(
            f"{where}: no answer within {_BANNER_TIMEOUT_S:g} s",
            "Is the machine on, and does a firewall let this port through?",
        )
    except OSError as error:
        return failure(
            f"{where}: {error.strerror or error}", "Does sshd run there, and on this port?"
        )
    if not banner.startswith("SSH-"):
        return failure(f"{where}: {banner or 'hangs up'}", "Another service answers: which port?")
    return ok(f"{where}: {banner}")


async def _banner(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return clean_line((await reader.read(_LONGEST_BANNER)).decode("ascii", "replace"))
    finally:
        writer.transport.abort()


async def look_at_host_key(road: Road) -> Outcome:
    """Whether the machine is the one that is trusted; asks nobody to trust it."""
    shown = await scan(road.options)
    found = f"{shown.key_type} {shown.fingerprint}"
    if shown.is_trusted:
        return ok(f"{found}, trusted")
    try:
        road.connection = await connect(road.options)
    except UnknownHostKey as error:
        return failure(
            f"{error.host}: {error.key_type} {error.fingerprint} is not known yet",
            "Compare it with what the machine or its provider says; then trust it: "
            f"brightrun start --host {road.name} --accept-host-key {error.fingerprint} ...",
        )
    except HostKeyChanged as error:
        return failure(str(error), f"ssh-keygen -R, once you know why: {error.path}")
    except PassphraseNeeded:
        return ok(found)  # The machine was trusted, or no key would have been wanted.
    return ok(f"{found}, vouched for by a trusted authority")


async def look_at_login(road: Road) -> Outcome:
    """Whether a key of the user's opens the machine."""
    if road.connection is None:
        try:
            road.connection = await connect(road.options)
        except PassphraseNeeded:
            if road.asker is None:
                raise
            road.connection = await connect(road.options, road.asker)
    return ok(f"as {road.machines[-1].user}")


ROAD_CHECKS = (
    Check("SSH configuration", look_at_configuration),
    Check("name", look_at_name, needs=("SSH configuration",)),
    Check("port", look_at_port, needs=("name",)),
    Check("host key", look_at_host_key, needs=("port",)),
    Check("login", look_at_login, needs=("host key",), timeout_s=600.0),
)
