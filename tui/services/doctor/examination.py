"""All checks for jobs on one host, in the order in which a job would need the things."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from tui.config import Config
from tui.services.doctor.checks import Finding, run_checks
from tui.services.doctor.console import CONSOLE_CHECKS, ThisConsole
from tui.services.doctor.local_host import LOCAL_CHECKS, ThisMachine
from tui.services.hosts.names import LOCAL, RUNPOD, SSH_PREFIX, checked_host_name
from tui.services.ssh.asker import Asker

CONSOLE = "console"


async def examine(
    config: Config, host: str = LOCAL, asker: Asker | None = None
) -> AsyncGenerator[Finding]:
    """One finding after the other: of this console, then of the host. Starts nothing.

    `asker` may be asked for a passphrase, and for nothing else.

    Raises:
        InvalidInput: `host` names no host.
    """
    host = checked_host_name(host)
    console = ThisConsole(config, os.environ, Path.home())
    async with aclosing(run_checks(CONSOLE, CONSOLE_CHECKS, console)) as findings:
        async for finding in findings:
            yield finding
    async with aclosing(_host_findings(config, host, asker)) as findings:
        async for finding in findings:
            yield finding


def _host_findings(config: Config, host: str, asker: Asker | None) -> AsyncGenerator[Finding]:
    if host == LOCAL:
        return run_checks(host, LOCAL_CHECKS, ThisMachine(config))
    if host == RUNPOD:
        return _runpod_findings(config)
    return _ssh_findings(config, host, asker)


async def _runpod_findings(config: Config) -> AsyncGenerator[Finding]:
    from tui.services.doctor.runpod_host import RUNPOD_CHECKS, RunpodAccount

    account = RunpodAccount(config)
    try:
        async with aclosing(run_checks(RUNPOD, RUNPOD_CHECKS, account)) as findings:
            async for finding in findings:
                yield finding
    finally:
        await account.close()


async def _ssh_findings(config: Config, host: str, asker: Asker | None) -> AsyncGenerator[Finding]:
    from tui.services.doctor.ssh_host import SSH_CHECKS
    from tui.services.doctor.ssh_road import Road
    from tui.services.ssh.address import parse_ssh_name
    from tui.services.ssh.connection import SshOptions

    address = parse_ssh_name(host.removeprefix(SSH_PREFIX))
    options = SshOptions(address, config.known_hosts_path)
    road = Road(host, options, config.remote_base, asker)
    try:
        async with aclosing(run_checks(host, SSH_CHECKS, road)) as findings:
            async for finding in findings:
                yield finding
    finally:
        await road.close()
