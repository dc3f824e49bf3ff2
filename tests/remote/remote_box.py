"""A bare machine behind a real OpenSSH server: a user with an empty home, and a way in."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.remote.sshd import NEEDS_ROOT, NO_SSHD, SSHD, OpenSshServer, fresh_user, make_key
from tests.tui.local_console import STAND_IN, Console

BASE = ".local/share/brightrun"

needs_a_box = pytest.mark.skipif(
    SSHD is None or os.getuid() != 0, reason=NO_SSHD if SSHD is None else NEEDS_ROOT
)


@dataclass
class RemoteBox:
    """The machine as the test sees it from the inside."""

    user: str
    home: Path
    server: OpenSshServer
    key: Path

    @property
    def root(self) -> Path:
        """The agent's root."""
        return self.home / BASE / "agent"

    def agent(self) -> dict[str, object]:
        """What the agent wrote about itself; empty if none runs."""
        try:
            found: dict[str, object] = json.loads((self.root / "agent.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def use_stand_in_trainer(self) -> None:
        """Jobs run the stand-in from now on, as a trainer environment of the user's own would."""
        script = self.home / "stand_in_trainer.py"
        shutil.copy(STAND_IN, script)
        python = next((self.home / BASE / "env").glob("*/bin/python"))
        self.write(self.root / "trainer.json", {"command": [str(python), "-P", str(script)]})
        self.own(script)

    def write(self, path: Path, value: object) -> None:
        """Write JSON as the box's user."""
        path.write_text(json.dumps(value))
        self.own(path)

    def own(self, path: Path) -> None:
        """Give a file to the box's user."""
        account = pwd.getpwnam(self.user)
        os.chown(path, account.pw_uid, account.pw_gid)

    @contextlib.contextmanager
    def another_server(self, **settings: str) -> Iterator[OpenSshServer]:
        """The same machine and host key behind a second sshd with other settings."""
        directory = Path(tempfile.mkdtemp(prefix="sshd-", dir=self.server.directory.parent))
        server = OpenSshServer(directory, {"HostKey": str(self.server.host_key), **settings})
        with server.running():
            server.authorize(self.user, self.key.with_suffix(".pub").read_text())
            yield server

    def console(self, path: Path, *, port: int | None = None) -> Console:
        """A console that knows this machine as `ssh:box`, by its own ~/.ssh/config.

        `port`: of something between the two, such as a proxy.
        """
        path.mkdir(parents=True, exist_ok=True)
        console = Console(path)
        ssh = path / "user" / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        (ssh / "config").write_text(
            "Host box\n"
            f"  HostName 127.0.0.1\n  Port {port or self.server.port}\n  User {self.user}\n"
            f"  IdentityFile {self.key}\n"
            "  HostKeyAlias box\n"
        )
        host_key = self.server.host_key.with_suffix(".pub").read_text()
        (ssh / "known_hosts").write_text(f"box {host_key}")
        console.environment["HOME"] = str(path / "user")
        console.environment.pop("SSH_AUTH_SOCK", None)
        return console


@contextlib.contextmanager
def remote_box(**settings: str) -> Iterator[RemoteBox]:
    """A machine for one or more tests; `settings` are lines of sshd_config."""
    # Not pytest's directory: another user cannot look into it.
    directory = Path(tempfile.mkdtemp(prefix="box-"))
    directory.chmod(0o755)
    try:
        with (
            fresh_user(directory / "home") as user,
            OpenSshServer(directory / "sshd", settings).running() as server,
        ):
            key = directory / "id"
            server.authorize(user, make_key(key))
            yield RemoteBox(user, directory / "home", server, key)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
