"""A pod's container: real processes in a PID and a mount namespace of their own.

Killing its first process ends every other one, whatever session it is in, as with real containers.
Nothing here knows the API.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shlex
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.fakes.runpod.image import PATH

# Below the range that Linux gives to outgoing connections: nobody takes the port in between.
_PORTS = range(12_000, 32_000)
_OPERATORS = set(";&|<>()")


@dataclass
class Container:
    """What a pod runs, and where its files are. `launch` from a thread that lives on."""

    user: str
    home: Path
    """The user's home directory: the container's own disk is mounted over it."""
    disk: Path
    log: Path
    """Its standard output and error."""
    tools: Path
    """Goes first on PATH."""
    start_script: Path
    args: str
    environment: dict[str, str]
    mount: tuple[Path, Path] | None = None
    """The volume's directory, and where the container sees it."""
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def command(self) -> list[str]:
        """What runs first: the words of `args`, which no shell sees, or the start script."""
        if not self.args.strip():
            return [str(self.start_script)]
        if needs_a_shell(self.args):
            return ["bash", "-c", self.args]
        return shlex.split(self.args)

    def launch(self) -> None:
        """Start it on a new port. It dies with the thread that called this."""
        self.port = _free_port()
        self._own(self.disk)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                # Should the fake be killed, the kernel ends the pod.
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                    *("sh", "-ec", self._set_up()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd="/",
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "USER": self.user,
            "LANG": "C.UTF-8",
            **self.environment,
            "PATH": f"{self.tools}:{PATH}",
            "RUNPOD_TCP_PORT_22": str(self.port),
        }

    def _set_up(self) -> str:
        account = pwd.getpwnam(self.user)
        mounts = [(self.disk, self.home), *([self.mount] if self.mount else [])]
        # As empty as in a new container, and open to this user, who stands for root.
        lines = [f"mount -t tmpfs -o mode=1777 tmpfs {path}" for path in ("/dev/shm", "/run")]
        lines += [shlex.join(["mount", "--bind", str(a), str(b)]) for a, b in mounts]
        # /tmp is everybody's here; what would lie there goes into a place of the pod's own.
        own = f"/run/user/{account.pw_uid}"
        lines += [f"mkdir -p {own}", f"chown {account.pw_uid} {own}", f"chmod 700 {own}"]
        # Another user forgets whose death ends it; so it is said again.
        run = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
        run += ["--clear-groups", "--pdeathsig", "KILL", *self.command]
        return "\n".join([*lines, shlex.join(["cd", str(self.home)]), "exec " + shlex.join(run)])

    def _own(self, directory: Path) -> None:
        account = pwd.getpwnam(self.user)
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        os.chown(directory, account.pw_uid, account.pw_gid)

    @property
    def running(self) -> bool:
        """Whether its first process is there."""
        return self.process is not None and self.process.poll() is None

    def pids(self) -> list[int]:
        """All its processes, as this machine counts them; the first one is the first."""
        if self.process is None or not (first := _children(self.process.pid)):
            return []
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"/proc/{first[0]}/ns/pid")
            if namespace == os.readlink("/proc/self/ns/pid"):
                return []
            found = []
            for entry in os.listdir("/proc"):
                with contextlib.suppress(OSError):
                    if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                        found.append(int(entry))
            return [first[0], *(pid for pid in sorted(found) if pid != first[0])]
        return []

    def terminate(self) -> None:
        """Ask all of it to end."""
        self.signal(signal.SIGTERM)

    def signal(self, number: int, name: str = "") -> list[int]:
        """Send a signal to all of it, or to what has `name` in its command line."""
        sent = []
        for pid in self.pids():
            with contextlib.suppress(OSError):
                if name in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
                    os.kill(pid, number)
                    sent.append(pid)
        return sent

    def has_nothing_to_end(self) -> bool:
        """Whether all is gone but a first process that has no handler, and so ignores SIGTERM."""
        pids = self.pids()
        return not pids or (len(pids) == 1 and not _handles_sigterm(pids[0]))

    def kill(self) -> None:
        """End all of it, and return when it is gone."""
        if self.process is None:
            return
        deadline = time.monotonic() + 10
        while self.running:
            for pid in _children(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.05)
            if self.running and time.monotonic() > deadline - 9.9:
                self.process.kill()  # it was still making its namespaces
            assert time.monotonic() < deadline, f"the container of {self.disk} does not end"


@cache
def can_make_containers() -> bool:
    """Whether this machine lets us make namespaces, as root mostly may."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "true"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def needs_a_shell(args: str) -> bool:
    """Whether a real image, which gets words and no shell, would misunderstand this."""
    lexer = shlex.shlex(args, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    with contextlib.suppress(ValueError):
        return any(set(word) <= _OPERATORS for word in lexer)
    return True


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _handles_sigterm(pid: int) -> bool:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
