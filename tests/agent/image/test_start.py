"""What the image's container runs, here as an ordinary process with a real sshd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.process import identify, send_signal
from shared.pod_start import PodStart, render_start_command
from tests.remote.sshd import NO_SSHD, SSHD, free_port, make_key
from tui.services.providers.runpod.host_keys_in_log import host_key_fingerprints

START = Path(__file__).parents[3] / "agent" / "image" / "start.sh"

pytestmark = pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason=NO_SSHD)


class Container:
    """A directory that the script takes for the container's /etc/ssh and home."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = free_port()
        self.public_key = make_key(path / "id").strip()
        self.log = path / "log"
        self.started: list[subprocess.Popen[bytes]] = []
        (path / "ssh").mkdir()
        (path / "home").mkdir()
        (path / "ssh" / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPidFile {path}/sshd.pid\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {path}/home/.ssh/authorized_keys\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    def start(self, command: list[str] | None = None, **environment: str) -> list[str]:
        """What it prints until its start is over."""
        values = {
            "HOME": str(self.path / "home"),
            "PATH": "/usr/sbin:/usr/bin:/bin",
            "SSH_DIRECTORY": str(self.path / "ssh"),
            "SSHD_PORT": str(self.port),
            **environment,
        }
        with self.log.open("wb") as log:
            self.started.append(
                subprocess.Popen(
                    command or ["bash", str(START)],
                    env=values,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        deadline = time.monotonic() + 20
        while "Start script finished" not in self.log.read_text():
            assert self.started[-1].poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return self.log.read_text().splitlines()

    def stop(self) -> None:
        """End everything in it, as a container's end does."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        pid_file = self.path / "sshd.pid"
        if pid_file.exists():
            sshd = identify(int(pid_file.read_text()))
            assert sshd is None or send_signal(sshd, signal.SIGTERM)
            deadline = time.monotonic() + 10
            while pid_file.exists() and time.monotonic() < deadline:
                time.sleep(0.02)

    def log_in(self, key: Path) -> subprocess.CompletedProcess[str]:
        options = [
            *("-F", "none", "-i", str(key), "-p", str(self.port), "-o", "IdentitiesOnly=yes"),
            *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"),
            *("-o", f"UserKnownHostsFile={self.path}/known_hosts"),
        ]
        command = ["ssh", *options, "127.0.0.1", "echo in"]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, env={"PATH": os.environ["PATH"]}
        )

    def known_fingerprint(self) -> str:
        """Of the key with which sshd has really answered."""
        command = ["ssh-keygen", "-l", "-f", str(self.path / "known_hosts")]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return told.split()[1]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    made.stop()


def test_sshd_lets_the_given_key_in_and_its_host_key_is_the_one_that_was_printed(
    container: Container,
) -> None:
    printed = host_key_fingerprints(container.start(PUBLIC_KEY=container.public_key))

    assert set(printed) == {"ED25519", "ECDSA", "RSA"}
    assert container.log_in(container.path / "id").stdout == "in\n"
    assert container.known_fingerprint() in printed.values()
    make_key(container.path / "other")
    assert "Permission denied" in container.log_in(container.path / "other").stderr


def test_a_container_that_starts_again_keeps_its_host_keys_and_lets_the_same_key_in(
    container: Container,
) -> None:
    before = host_key_fingerprints(container.start(PUBLIC_KEY=container.public_key))
    container.stop()
    after = host_key_fingerprints(container.start(PUBLIC_KEY=container.public_key))

    assert before == after
    keys = container.path / "home" / ".ssh" / "authorized_keys"
    assert keys.read_text() == f"{container.public_key}\n"
    assert container.log_in(container.path / "id").stdout == "in\n"


def test_without_a_key_there_is_no_sshd(container: Container) -> None:
    printed = container.start()
    assert printed[0] == "PUBLIC_KEY is not set: nobody can log in, and sshd is not started"
    assert not (container.path / "sshd.pid").exists()
    assert container.started[-1].poll() is None


def test_the_start_command_of_a_rented_machine_ends_with_it(container: Container) -> None:
    start = PodStart(
        rental=1,
        base=str(container.path / "volume"),
        start_script=str(START),
        run_directory=str(container.path / "run"),
        silence_limit_s=600,
        lifetime_s=3600,
    )
    printed = container.start(
        ["bash", "-c", render_start_command(start)],
        PUBLIC_KEY=container.public_key,
        RUNPOD_POD_ID="pod1",
        RUNPOD_API_KEY="rpa_canary",
    )
    assert printed[0] == "brightrun: the container starts"
    assert container.log_in(container.path / "id").stdout == "in\n"
    assert container.known_fingerprint() in host_key_fingerprints(printed).values()
    assert "rpa_canary" not in "".join(printed)
