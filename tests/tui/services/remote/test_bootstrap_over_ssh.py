"""The installation through a real OpenSSH server, for a user that has nothing but a home."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from shared.errors import InstallationFailed
from tests.remote.remote_box import BASE, RemoteBox, needs_a_box, remote_box
from tui.services.remote.bootstrap import Bootstrap
from tui.services.remote.state import RunningAgent
from tui.services.ssh.remote_shell import SshShell

pytestmark = [needs_a_box, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[4]


@asynccontextmanager
async def bootstrap_on(box: RemoteBox) -> AsyncIterator[Bootstrap]:
    host_key = asyncssh.read_public_key(box.server.host_key.with_suffix(".pub"))
    async with asyncssh.connect(
        "127.0.0.1",
        box.server.port,
        username=box.user,
        client_keys=[str(box.key)],
        known_hosts=([host_key], [], []),
        config=None,
    ) as connection:

        async def same() -> asyncssh.SSHClientConnection:
            return connection

        yield Bootstrap(SshShell("box", same))


async def test_a_bare_user_gets_an_agent_that_runs_only_what_came_with_it() -> None:
    steps: list[str] = []
    with remote_box() as box:
        async with bootstrap_on(box) as bootstrap:
            assert (await bootstrap.look()).agent is None
            agent = await _ensure(bootstrap, steps)
            assert (await bootstrap.look()).agent == agent
        # It outlives the connection through which it was started.
        async with bootstrap_on(box) as bootstrap:
            assert await bootstrap.ensure_agent(steps.append) == agent

        home = str(box.home)
        assert agent.is_current
        assert agent.code.startswith(f"{home}/{BASE}/code/")
        assert Path(f"/proc/{agent.pid}").stat().st_uid == box.home.stat().st_uid
        environment = Path(f"/proc/{agent.pid}/environ").read_bytes().split(b"\0")
        assert f"PYTHONPATH={agent.code}".encode() in environment
        _assert_that_nothing_else_is_mapped(agent, home)
        assert json.loads((box.root / "agent.json").read_text())["pid"] == agent.pid
    assert steps.count("starting the agent") == 1


async def _ensure(bootstrap: Bootstrap, steps: list[str]) -> RunningAgent:
    try:
        return await bootstrap.ensure_agent(steps.append)
    except InstallationFailed as error:
        if "index cannot be reached" in str(error):
            pytest.skip(f"needs a package index: {error}")
        raise


def _assert_that_nothing_else_is_mapped(agent: RunningAgent, home: str) -> None:
    """Every shared object of a package comes from the home; all else from the system."""
    lines = Path(f"/proc/{agent.pid}/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if line.count("/")}
    packages = {path for path in paths if "-packages/" in path}
    assert packages, "pydantic-core is one"
    assert not [path for path in packages if not path.startswith(home)]
    assert not [path for path in paths if path.startswith(f"{REPOSITORY}{os.sep}")]
