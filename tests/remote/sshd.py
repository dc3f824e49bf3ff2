"""A real OpenSSH server on loopback, with its own configuration, host key and port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NO_SSHD = "needs sshd: apt-get install openssh-server"
NEEDS_ROOT = "needs root: a user is made for the test"


@dataclass
class OpenSshServer:
    """Runs inside `running`; its log is `directory/sshd.log`."""

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    """More lines of sshd_config, such as AllowStreamLocalForwarding=no."""
    port: int = 0

    @property
    def host_key(self) -> Path:
        return self.directory / "host_key"

    @property
    def log(self) -> str:
        return (self.directory / "sshd.log").read_text(errors="replace")

    def authorize(self, user: str, public_key: str) -> None:
        """Let the owner of the key in as this user."""
        keys = self.directory / "authorized_keys"
        keys.mkdir(exist_ok=True)
        (keys / user).write_text(public_key)

    def new_host_key(self) -> None:
        """Another key than before, from the next start on."""
        self.host_key.unlink(missing_ok=True)
        make_key(self.host_key)

    @contextlib.contextmanager
    def running(self) -> Iterator[OpenSshServer]:
        """Serve on a free port of 127.0.0.1, and end with everything that was logged in."""
        assert SSHD is not None, NO_SSHD
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd asks for it
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        if not self.host_key.exists():
            make_key(self.host_key)
        self.port = self.port or free_port()
        self._write_configuration()
        log = (self.directory / "sshd.log").open("ab")
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(self.directory / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            self._wait_until_it_answers(process)
            yield self
        finally:
            process.terminate()
            process.wait(timeout=10)
            log.close()

    def _write_configuration(self) -> None:
        settings = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": str(self.host_key),
            "AuthorizedKeysFile": f"{self.directory}/authorized_keys/%u",
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "Subsystem": "sftp internal-sftp",
            "MaxStartups": "100",
            "LogLevel": "VERBOSE",
            **self.settings,
        }
        lines = [f"{name} {value}\n" for name, value in settings.items()]
        (self.directory / "sshd_config").write_text("".join(lines))

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 10
        while True:
            assert process.poll() is None, f"sshd ended: {self.log}"
            assert time.monotonic() < deadline, f"sshd does not answer: {self.log}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)


def make_key(path: Path, passphrase: str = "") -> str:
    """A new ed25519 key pair at `path` and `path`.pub; returns the public line."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path.with_name(path.name + ".pub").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def fresh_user(home: Path) -> Iterator[str]:
    """A user that has nothing but an empty home; needs root.

    What it left running is ended with it: everything of that user was started by the test.
    """
    name = f"bright{os.getpid()}x{time.monotonic_ns() % 100_000}"
    subprocess.run(
        ["useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", name],
        check=True,
    )
    try:
        # A locked password would keep sshd from letting the user in by key.
        subprocess.run(["usermod", "--password", "*", name], check=True)
        account = pwd.getpwnam(name)
        home.mkdir(parents=True, mode=0o700)
        os.chown(home, account.pw_uid, account.pw_gid)
        yield name
    finally:
        _end_processes(account.pw_uid)
        subprocess.run(["userdel", "--force", name], check=True, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def _end_processes(uid: int) -> None:
    deadline = time.monotonic() + 10
    while pids := pids_of(uid):
        assert time.monotonic() < deadline, f"still running: {pids}"
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        time.sleep(0.05)


def pids_of(uid: int) -> list[int]:
    """What runs as this user, without what has ended and was not waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    found.append(int(entry.name))
    return found
