"""The questions of a first connection to a real OpenSSH server, answered at the console."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.lifecycle import JobStatus
from shared.store.store import open_store
from tests.remote.sshd import NO_SSHD, SSHD, OpenSshServer, make_key
from tests.shared.store.journal import job_spec
from tests.tui.console_pilot import open_app
from tests.tui.local_console import Console
from tui.screens.host_key import HostKeyScreen
from tui.screens.machines import MachinesScreen
from tui.screens.passphrase import PassphraseScreen

pytestmark = pytest.mark.skipif(SSHD is None, reason=NO_SSHD)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenSshServer]:
    """Unknown, and open to a key that is locked with a passphrase."""
    home = tmp_path / "user"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("BRIGHTRUN_REMOTE_BASE", str(tmp_path / "base"))
    made = OpenSshServer(tmp_path / "sshd")
    made.directory.mkdir()
    made.authorize(getpass.getuser(), make_key(home / ".ssh" / "id_ed25519", "open sesame"))
    with made.running():
        yield made


async def test_a_first_connection_asks_for_trust_and_for_the_passphrase_and_then_never_again(
    server: OpenSshServer, tmp_path: Path
) -> None:
    host = f"ssh:{getpass.getuser()}@127.0.0.1:{server.port}"
    console = Console(tmp_path)
    async with open_store(console.home / "brightrun.db") as store:
        await store.add_job(job_spec("job-there", name="over there"), host)
        # One that went on would have an agent installed there, to be followed.
        await store.settle_job("job-there", JobStatus.CANCELLED, "not needed")
    printed = subprocess.run(
        ["ssh-keygen", "-lf", f"{server.host_key}.pub"], check=True, capture_output=True, text=True
    ).stdout.split()

    async with open_app(console) as pilot:
        await pilot.until_seen("over there")
        await pilot.press("h")
        await pilot.until(lambda: isinstance(pilot.app.screen, MachinesScreen))
        await pilot.until_seen("ssh:", "unreachable")
        await pilot.press("down", "f5")
        await pilot.until(lambda: isinstance(pilot.app.screen, HostKeyScreen))
        await pilot.until_seen(printed[1], "ssh-ed25519")
        await pilot.press("left", "enter")
        await pilot.until(lambda: isinstance(pilot.app.screen, PassphraseScreen))
        await pilot.press(*"open", "space", *"sesame", "enter")
        await pilot.until(lambda: isinstance(pilot.app.screen, MachinesScreen))
        # It has been reached: what is missing there is only an agent.
        machine = pilot.app.screen
        assert isinstance(machine, MachinesScreen)
        await pilot.until(lambda: machine._sights[host].state == "no agent yet")
        await pilot.press("f5")
        await pilot.pilot.pause(0.5)
        assert pilot.app.screen is machine
