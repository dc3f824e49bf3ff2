"""The road to a machine behind a real OpenSSH server, whole and with each piece missing."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.agent_protocol import PROTOCOL_VERSION
from tests.remote.remote_box import BASE, RemoteBox, needs_a_box, remote_box
from tests.remote.sshd import free_port, make_key
from tui.config import Config
from tui.services.doctor.checks import Finding, run_checks
from tui.services.doctor.examination import examine
from tui.services.doctor.ssh_host import SSH_CHECKS
from tui.services.doctor.ssh_road import Road
from tui.services.ssh.address import parse_ssh_name
from tui.services.ssh.connection import SshOptions

pytestmark = needs_a_box

CARRY = """
import os, socket, sys, threading

def send():
    while data := os.read(0, 65536):
        there.sendall(data)

there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
threading.Thread(target=send, daemon=True).start()
while data := there.recv(65536):
    os.write(1, data)
"""

SLOW = {
    *("Python", "machine", "disk", "memory", "GPU", "clock", "package index", "way to the agent"),
}
UP_TO_LOGIN = ["SSH configuration", "name", "port", "host key", "login"]


@pytest.fixture(scope="module")
def box() -> Iterator[RemoteBox]:
    with remote_box() as made:
        yield made


@dataclass
class Users:
    """Somebody with a ~/.ssh of their own and a console."""

    home: Path
    asked: list[str] = field(default_factory=list)
    passphrases: list[str] = field(default_factory=list)

    @property
    def ssh(self) -> Path:
        return self.home / ".ssh"

    def configure(self, **options: object) -> None:
        """Change what ~/.ssh/config says about the box."""
        lines = "".join(f"  {name} {value}\n" for name, value in options.items())
        (self.ssh / "config").write_text(f"Host box\n{lines}" + (self.ssh / "config").read_text())

    def use_key(self, key: Path) -> None:
        """Offer this key and no other."""
        config = (self.ssh / "config").read_text().splitlines(keepends=True)
        kept = "".join(line for line in config if "IdentityFile" not in line)
        (self.ssh / "config").write_text(f"{kept}  IdentityFile {key}\n")

    async def look(self, name: str = "ssh:box") -> list[Finding]:
        """All findings about the host, as the command gets them."""
        coming = examine(self.config, name)
        return [finding async for finding in coming if finding.part == name]

    async def glance(
        self, name: str = "ssh:box", *more: str, with_asker: bool = False
    ) -> list[Finding]:
        """Without the checks that take a second each, but for those that are named."""
        checks = [check for check in SSH_CHECKS if check.name not in SLOW or check.name in more]
        options = SshOptions(parse_ssh_name(name[4:]), self.config.known_hosts_path)
        road = Road(name, options, BASE, self if with_asker else None)
        findings = [finding async for finding in run_checks(name, checks, road)]
        await road.close()
        return findings

    @property
    def config(self) -> Config:
        return Config(self.home / "brightrun", self.home / "agent", BASE)

    async def trust_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        raise AssertionError("the doctor asks nobody whom to trust")

    async def passphrase(self, key_path: str) -> str | None:
        self.asked.append(key_path)
        return self.passphrases.pop(0) if self.passphrases else None


@pytest.fixture
def users(box: RemoteBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Users:
    box.console(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Users(tmp_path / "user")


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def failed(findings: list[Finding]) -> Finding:
    """The only failure; all that comes after it in order was skipped."""
    [failure] = [finding for finding in findings if finding.verdict == "failure"]
    after = findings[findings.index(failure) + 1 :]
    assert {finding.verdict for finding in after} <= {"skipped"}
    return failure


@asynccontextmanager
async def pretended_agent(box: RemoteBox, **changes: object) -> AsyncIterator[None]:
    """A living process of the box's user that says it is an agent, with a socket."""
    (box.home / BASE / "agent").mkdir(parents=True)
    process = subprocess.Popen(["sleep", "600"])
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    path = box.home.parent / "agent.sock"
    address = {
        "socket": str(path),
        "pid": process.pid,
        "start_time": int(stat.rpartition(")")[2].split()[19]),
        "version": "0.0.7",
        "protocol": PROTOCOL_VERSION,
        **changes,
    }
    async with await asyncio.start_unix_server(lambda _, writer: writer.close(), path):
        path.chmod(0o777)
        box.write(box.root / "agent.json", address)
        (box.root / "agent.token").write_text("a-token")
        for made in (box.home / ".local", *(box.home / ".local").rglob("*")):
            box.own(made)
        yield
    process.kill()
    process.wait()
    shutil.rmtree(box.home / ".local")


async def test_a_bare_machine_can_take_a_job_and_is_left_as_it_is(
    box: RemoteBox, users: Users
) -> None:
    before = sorted(users.home.rglob("*"))
    findings = await users.look()

    found = by_name(findings)
    assert [finding.check for finding in findings[:5]] == UP_TO_LOGIN
    found.pop("package index")  # It may be out of reach where the tests run.
    assert {finding.verdict for finding in found.values()} <= {"ok", "warning"}
    assert f"{box.user}@127.0.0.1:{box.server.port}" in found["SSH configuration"].found
    assert "SSH-2.0-OpenSSH" in found["port"].found
    assert "ssh-ed25519 SHA256:" in found["host key"].found
    assert found["login"].found == f"as {box.user}"
    assert found["agent"].found.startswith("not installed yet")
    assert found["way to the agent"].found == "sshd forwards to its socket"
    assert found["clock"].verdict == "ok"
    assert list(box.home.iterdir()) == []
    assert sorted(users.home.rglob("*")) == before
    assert "listen" not in processes_of(box)


def processes_of(box: RemoteBox) -> str:
    done = subprocess.run(["ps", "-u", box.user, "-o", "args="], capture_output=True, text=True)
    return done.stdout


async def test_an_agent_that_runs_is_told_with_its_version(box: RemoteBox, users: Users) -> None:
    async with pretended_agent(box):
        found = by_name(await users.glance("ssh:box", "Python", "way to the agent"))

    assert found["agent"].found.startswith("0.0.7 runs (pid ")
    assert found["way to the agent"].found == "sshd forwards to its socket"


async def test_an_agent_of_another_protocol_is_a_warning(box: RemoteBox, users: Users) -> None:
    async with pretended_agent(box, protocol=9, version="9\u202e.0"):
        found = by_name(await users.glance())["agent"]
    assert found.verdict == "ok"  # an address with control characters is no agent's

    async with pretended_agent(box, protocol=9):
        found = by_name(await users.glance())["agent"]
    assert (found.verdict, "speaks protocol 9" in found.found) == ("warning", True)


async def test_a_trainer_of_the_users_own_is_shown(box: RemoteBox, users: Users) -> None:
    async with pretended_agent(box):
        box.write(box.root / "trainer.json", {"command": ["/opt/python", "train.py"]})
        found = by_name(await users.glance())
    assert found["training stack"].found == "your own: /opt/python train.py"


async def test_where_nothing_is_forwarded_a_relay_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote_box(AllowStreamLocalForwarding="no", AllowTcpForwarding="no") as box:
        box.console(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path / "user"))
        looks = await Users(tmp_path / "user").glance("ssh:box", "Python", "way to the agent")
        found = by_name(looks)["way to the agent"]

    assert found.verdict == "warning"
    assert "relays instead" in found.found
    assert "AllowStreamLocalForwarding yes" in found.fix


async def test_an_unknown_host_key_is_shown_with_the_way_to_trust_it(
    box: RemoteBox, users: Users
) -> None:
    (users.ssh / "known_hosts").unlink()

    failure = failed(await users.glance(with_asker=True))

    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", f"{box.server.host_key}.pub"], capture_output=True, text=True
    ).stdout.split()[1]
    assert failure.check == "host key"
    assert fingerprint in failure.found
    assert f"--accept-host-key {fingerprint}" in failure.fix
    assert not (users.ssh / "known_hosts").exists()
    assert not (users.home / "brightrun").exists()


async def test_a_changed_host_key_is_shown_with_both_fingerprints(
    box: RemoteBox, users: Users, tmp_path: Path
) -> None:
    (users.ssh / "known_hosts").write_text(f"box {make_key(tmp_path / 'other')}")
    before = box.server.log.count("publickey")

    failure = failed(await users.glance())

    assert failure.check == "host key"
    assert failure.found.count("SHA256:") == 2
    assert "known_hosts" in failure.fix
    assert box.server.log.count("publickey") == before


async def test_a_key_that_opens_nothing_is_a_failed_login(users: Users, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    users.use_key(tmp_path / "stranger")

    failure = failed(await users.glance())

    assert failure.check == "login"
    assert "ssh-copy-id" in failure.found


async def test_an_encrypted_key_asks_a_person_and_nobody_else(
    box: RemoteBox, users: Users, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    public = make_key(locked, "open sesame")
    box.server.authorize(box.user, public + box.key.with_suffix(".pub").read_text())
    users.use_key(locked)

    failure = failed(await users.glance())
    assert failure.check == "login"
    assert f"ssh-add {locked}" in failure.found

    users.passphrases = ["open sesame"]
    found = by_name(await users.glance(with_asker=True))
    assert found["login"].verdict == "ok"
    assert users.asked == [str(locked)]
    assert "sesame" not in json.dumps([finding.found for finding in found.values()])


@pytest.mark.parametrize(
    ("options", "check", "words"),
    [
        ({"HostName": "no-such-machine.invalid"}, "name", "no-such-machine.invalid"),
        ({"ProxyJump": "box,box,-evil"}, "SSH configuration", "ProxyJump"),
    ],
)
async def test_a_road_that_leads_nowhere_is_told_where_it_ends(
    users: Users, options: dict[str, object], check: str, words: str
) -> None:
    users.configure(**options)
    failure = failed(await users.glance())
    assert (failure.check, words in failure.found) == (check, True)


async def test_a_port_where_nobody_or_somebody_else_answers_is_told(users: Users) -> None:
    failure = failed(await users.glance(f"ssh:root@127.0.0.1:{free_port()}"))
    assert (failure.check, failure.fix) == ("port", "Does sshd run there, and on this port?")

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 \x1b]0;evil\x07Bad Request\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        failure = failed(await users.glance(f"ssh:root@127.0.0.1:{port}"))

    assert failure.check == "port"
    assert failure.found == f"port {port} of 127.0.0.1: HTTP/1.1 400 Bad Request"


async def test_the_way_through_a_proxy_command_is_left_to_it(box: RemoteBox, users: Users) -> None:
    script = users.home / "carry.py"
    script.write_text(CARRY)
    command = f"{sys.executable} {script} {box.server.port}"
    users.configure(ProxyCommand=command, HostName="behind.invalid")

    found = by_name(await users.glance())

    assert found["name"].found == found["port"].found == "left to the ProxyCommand"
    assert found["login"].verdict == "ok", found
