from __future__ import annotations

import contextlib
import getpass
import os
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.remote.sshd import NO_SSHD, SSHD, OpenSshServer, make_key
from tui.services.ssh.address import parse_ssh_name
from tui.services.ssh.connection import SshOptions

needs_sshd = pytest.mark.skipif(SSHD is None, reason=NO_SSHD)
USER = getpass.getuser()


@dataclass
class Person:
    """Answers what the test says, and notes what was asked."""

    trusts: bool = True
    passphrases: list[str | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    before_answering: Callable[[], Awaitable[None]] | None = None

    async def trust_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        await self._ask(f"{host} {key_type} {fingerprint}")
        return self.trusts

    async def passphrase(self, key_path: str) -> str | None:
        await self._ask(key_path)
        return self.passphrases.pop(0)

    async def _ask(self, question: str) -> None:
        self.asked.append(question)
        if self.before_answering is not None:
            await self.before_answering()


@dataclass
class SshHome:
    """A home directory whose ~/.ssh is the test's own, and the console's known_hosts beside it."""

    path: Path
    known_hosts: Path

    @property
    def ssh(self) -> Path:
        return self.path / ".ssh"

    def configure(self, text: str) -> None:
        """Write ~/.ssh/config."""
        (self.ssh / "config").write_text(text)

    def key(self, name: str = "id_ed25519", passphrase: str = "") -> str:
        """Make a key in ~/.ssh; returns its public line."""
        return make_key(self.ssh / name, passphrase)

    def options(self, name: str, **more: object) -> SshOptions:
        """With the usual paths of this home, and patience for a busy machine."""
        values: dict[str, object] = {"connect_timeout_s": 60.0, "login_timeout_s": 60.0, **more}
        return SshOptions(parse_ssh_name(name), self.known_hosts, **values)  # type: ignore[arg-type]


@pytest.fixture
def ssh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SshHome:
    """Nothing of the developer's own ~/.ssh or ssh-agent can be seen."""
    home = SshHome(tmp_path / "user", tmp_path / "console" / "known_hosts")
    home.ssh.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home.path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[OpenSshServer]:
    """Lets the tests' user in by the keys that it is told; logs every attempt."""
    if SSHD is None:
        pytest.skip(NO_SSHD)
    server = OpenSshServer(tmp_path / "sshd", {"LogLevel": "DEBUG1", "AcceptEnv": "LC_*"})
    with server.running():
        yield server


@pytest.fixture
def ssh_agent(
    ssh_home: SshHome, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], None]]:
    """A real, empty ssh-agent; call it with the path of a key to have that added."""
    with tempfile.TemporaryDirectory(prefix="agent-") as directory, _agent(directory) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)

        def add(key: Path) -> None:
            subprocess.run(["ssh-add", "-q", str(key)], check=True, stdin=subprocess.DEVNULL)

        yield add


@contextlib.contextmanager
def _agent(directory: str) -> Iterator[str]:
    socket = f"{directory}/socket"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()  # it prints the address once it listens
        yield socket
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=10)
