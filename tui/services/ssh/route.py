"""Which machines a connection goes through: those of ProxyJump, in order, and the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shared.errors import SshRefused
from tui.services.ssh.address import SshAddress
from tui.services.ssh.ssh_config import HostSettings, host_settings

_MOST_MACHINES = 8


def route(address: SshAddress, config_paths: Sequence[Path]) -> list[HostSettings]:
    """The machines from the nearest to the one meant; blocks on the configuration's files.

    Only the first may have a way of its own: the next are reached through those before them.

    Raises:
        SshRefused: a way that goes round in a circle, or a configuration that makes no sense.
    """
    machines = [host_settings(address, config_paths)]
    while jumps := machines[0].jumps:
        nearest, *others = [host_settings(jump, config_paths) for jump in jumps]
        # `Host *` with a ProxyJump is about the jump host, too: it is not reached through itself.
        if nearest.place == machines[0].place:
            break
        machines = [nearest, *map(_reached_through, others), *map(_reached_through, machines)]
        if len(machines) > _MOST_MACHINES:
            raise SshRefused(
                f"{address.name}: ProxyJump in ~/.ssh/config leads through more than "
                f"{_MOST_MACHINES} machines; does it go round in a circle?"
            )
    return machines


def _reached_through(machine: HostSettings) -> HostSettings:
    return replace(machine, jumps=(), proxy_command=None)
