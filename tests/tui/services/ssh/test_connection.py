"""Against a real OpenSSH server: whose host key is trusted, and by which way it is reached."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from shared.errors import AgentError, HostKeyChanged, HostUnreachable, SshRefused, UnknownHostKey
from tests.remote.proxy import ChaosProxy
from tests.remote.sshd import OpenSshServer, make_key
from tests.tui.services.ssh.conftest import USER, Person, SshHome, needs_sshd
from tui.services.ssh.asker import Asker
from tui.services.ssh.connection import OnLost, SshOptions, connect, scan

pytestmark = needs_sshd


@asynccontextmanager
async def connected(
    options: SshOptions, asker: Asker | None = None, on_lost: OnLost | None = None
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    connection = await connect(options, asker, on_lost=on_lost)
    try:
        yield connection
    finally:
        connection.close()
        await connection.wait_closed()


async def whoami(options: SshOptions, asker: Asker | None = None) -> str:
    async with connected(options, asker) as connection:
        return str((await connection.run("whoami", check=True)).stdout).strip()


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what


def fingerprint(key: Path) -> str:
    """What OpenSSH prints."""
    done = subprocess.run(["ssh-keygen", "-l", "-f", str(key)], capture_output=True, text=True)
    return done.stdout.split()[1]


def known_line(server: OpenSshServer, name: str | None = None) -> str:
    public = server.host_key.with_name("host_key.pub").read_text().split()
    return f"{name or f'[127.0.0.1]:{server.port}'} {public[0]} {public[1]}\n"


def name_of(server: OpenSshServer) -> str:
    return f"{USER}@127.0.0.1:{server.port}"


@pytest.fixture
def let_in(ssh_home: SshHome, sshd: OpenSshServer) -> SshOptions:
    """How to reach the server, with a key that it takes; its host key is not known yet."""
    sshd.authorize(USER, ssh_home.key())
    return ssh_home.options(name_of(sshd))


async def test_an_unknown_machine_is_not_trusted_where_nobody_can_be_asked(
    sshd: OpenSshServer, let_in: SshOptions
) -> None:
    with pytest.raises(UnknownHostKey) as raised:
        await connect(let_in)
    error = raised.value
    assert error.fingerprint == fingerprint(sshd.host_key)
    assert (error.host, error.key_type) == (name_of(sshd), "ssh-ed25519")
    assert known_line(sshd).endswith(f" {error.public_key}\n")
    assert f"--accept-host-key {error.fingerprint}" in str(error)
    assert not let_in.known_hosts_path.exists()


async def test_a_machine_that_a_person_trusts_is_asked_about_once(
    sshd: OpenSshServer, let_in: SshOptions
) -> None:
    person = Person()
    assert await whoami(let_in, person) == USER
    assert person.asked == [f"{name_of(sshd)} ssh-ed25519 {fingerprint(sshd.host_key)}"]
    assert let_in.known_hosts_path.read_text() == known_line(sshd)
    assert stat.S_IMODE(let_in.known_hosts_path.stat().st_mode) == 0o600
    assert await whoami(let_in) == USER


async def test_a_machine_that_a_person_does_not_trust_is_not_remembered(
    let_in: SshOptions,
) -> None:
    with pytest.raises(UnknownHostKey):
        await connect(let_in, Person(trusts=False))
    assert not let_in.known_hosts_path.exists()


async def test_no_connection_is_open_while_a_person_thinks(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions
) -> None:
    async with ChaosProxy(sshd.port) as proxy:

        async def nothing_is_open() -> None:
            await until(
                lambda: proxy.open_count == 0, "a timeout would run while the person thinks"
            )

        person = Person(before_answering=nothing_is_open)
        assert await whoami(ssh_home.options(f"{USER}@127.0.0.1:{proxy.port}"), person) == USER
    assert len(person.asked) == 1


async def test_a_fingerprint_given_beforehand_is_trusted_without_asking(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions
) -> None:
    person = Person(trusts=False)
    accepting = ssh_home.options(name_of(sshd), accept_host_key=fingerprint(sshd.host_key))
    assert await whoami(accepting, person) == USER
    assert person.asked == []
    assert await whoami(let_in) == USER


async def test_another_key_than_the_one_given_beforehand_is_refused_without_asking(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions, tmp_path: Path
) -> None:
    make_key(tmp_path / "other")
    person = Person(trusts=True)
    accepting = ssh_home.options(name_of(sshd), accept_host_key=fingerprint(tmp_path / "other"))
    with pytest.raises(UnknownHostKey, match="not the key that --accept-host-key names"):
        await connect(accepting, person)
    assert person.asked == []
    assert not let_in.known_hosts_path.exists()


async def test_a_fingerprint_given_beforehand_does_not_excuse_a_changed_key(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions, tmp_path: Path
) -> None:
    (ssh_home.ssh / "known_hosts").write_text(
        f"[127.0.0.1]:{sshd.port} {make_key(tmp_path / 'other')}"
    )
    accepting = ssh_home.options(name_of(sshd), accept_host_key=fingerprint(sshd.host_key))
    with pytest.raises(HostKeyChanged):
        await connect(accepting, Person())


@pytest.mark.parametrize("is_hashed", [False, True])
async def test_what_the_users_own_known_hosts_knows_is_known(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions, is_hashed: bool
) -> None:
    users = ssh_home.ssh / "known_hosts"
    users.write_text(known_line(sshd))
    if is_hashed:
        command = ["ssh-keygen", "-q", "-H", "-f", str(users)]
        subprocess.run(command, check=True, capture_output=True)
        assert "127.0.0.1" not in users.read_text()
    before = users.read_bytes()
    assert await whoami(let_in) == USER
    assert users.read_bytes() == before
    assert not let_in.known_hosts_path.exists()


async def test_the_same_key_on_sshds_usual_port_is_known_as_openssh_knows_it(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions, tmp_path: Path
) -> None:
    users = ssh_home.ssh / "known_hosts"
    users.write_text(f"127.0.0.1 {make_key(tmp_path / 'other')}")
    with pytest.raises(UnknownHostKey):  # not changed: what is known is another machine
        await connect(let_in)
    users.write_text(known_line(sshd, "127.0.0.1"))
    assert await whoami(let_in) == USER


async def test_a_changed_key_is_refused_before_anything_is_sent(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions, tmp_path: Path
) -> None:
    # The same port, so that no scanner's line of another machine can be meant.
    make_key(tmp_path / "before")
    known = let_in.known_hosts_path
    known.parent.mkdir(parents=True)
    public = (tmp_path / "before.pub").read_text()
    known.write_text(f"# ours\n[127.0.0.1]:{sshd.port} {public}")
    person = Person(trusts=True)
    with pytest.raises(HostKeyChanged) as raised:
        await connect(let_in, person)
    error = raised.value
    assert (error.path, error.line_number) == (str(known), 2)
    assert error.fingerprint == fingerprint(sshd.host_key)
    assert error.trusted_fingerprint == fingerprint(tmp_path / "before")
    for part in (error.fingerprint, error.trusted_fingerprint, f"{known} line 2", "remove that"):
        assert part in str(error)
    assert person.asked == []
    assert public in known.read_text()

    await until(lambda: "Connection closed" in sshd.log, "sshd saw us come and go")
    assert "SSH2_MSG_KEXINIT sent" in sshd.log
    assert "userauth-request" not in sshd.log
    assert USER not in sshd.log.split("SSH2_MSG_KEXINIT sent", 1)[1]
    # The same log tells of a user as soon as there is one.
    known.unlink()
    await whoami(let_in, person)
    assert f"userauth-request for user {USER}" in sshd.log


async def test_a_machine_that_has_no_key_of_the_trusted_type_any_more_has_changed(
    sshd: OpenSshServer, let_in: SshOptions
) -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    line = rsa.export_public_key().decode()
    let_in.known_hosts_path.parent.mkdir(parents=True)
    let_in.known_hosts_path.write_text(f"[127.0.0.1]:{sshd.port} {line}")
    with pytest.raises(HostKeyChanged) as raised:
        await connect(let_in, Person())
    assert raised.value.trusted_fingerprint == rsa.get_fingerprint()
    assert raised.value.fingerprint == fingerprint(sshd.host_key)
    assert "userauth-request" not in sshd.log


async def test_our_file_has_the_first_word(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions, tmp_path: Path
) -> None:
    (ssh_home.ssh / "known_hosts").write_text(known_line(sshd))
    let_in.known_hosts_path.parent.mkdir(parents=True)
    let_in.known_hosts_path.write_text(f"[127.0.0.1]:{sshd.port} {make_key(tmp_path / 'other')}")
    with pytest.raises(HostKeyChanged, match=re.escape(str(let_in.known_hosts_path))):
        await connect(let_in)


async def test_a_revoked_key_is_refused_even_if_a_person_would_trust_it(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions
) -> None:
    (ssh_home.ssh / "known_hosts").write_text(f"@revoked {known_line(sshd, '*')}")
    person = Person()
    with pytest.raises(SshRefused, match="revoked"):
        await connect(let_in, person)
    assert person.asked == []


async def test_a_trusted_key_of_one_type_is_found_among_a_servers_several(
    ssh_home: SshHome, tmp_path: Path
) -> None:
    server = OpenSshServer(tmp_path / "several")
    server.directory.mkdir()
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    server.host_key.write_bytes(rsa.export_private_key("openssh"))
    server.host_key.chmod(0o600)
    make_key(server.directory / "second")
    # sshd_config takes HostKey twice; the dictionary of settings does not.
    server.settings = {"Compression": f"no\nHostKey {server.directory / 'second'}"}
    options = ssh_home.options
    with server.running():
        server.authorize(USER, ssh_home.key())
        shown = await scan(options(name_of(server)))
        assert shown.key_type == "ssh-ed25519"
        line = rsa.export_public_key().decode()
        (ssh_home.ssh / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {line}")
        assert await whoami(options(name_of(server))) == USER


async def test_a_scan_tells_the_key_and_whether_it_is_trusted_without_logging_in(
    sshd: OpenSshServer, let_in: SshOptions
) -> None:
    shown = await scan(let_in)
    assert (shown.host, shown.fingerprint) == (name_of(sshd), fingerprint(sshd.host_key))
    assert not shown.is_trusted
    assert "userauth-request" not in sshd.log
    await whoami(let_in, Person())
    assert (await scan(let_in)).is_trusted


async def test_an_alias_of_the_configuration_brings_its_host_port_user_and_key(
    ssh_home: SshHome, sshd: OpenSshServer
) -> None:
    sshd.authorize(USER, ssh_home.key("work"))
    (ssh_home.ssh / "hosts.conf").write_text(f"Host gpu\n  Port {sshd.port}\n  User {USER}\n")
    ssh_home.configure(
        "Include hosts.conf\nHost gpu\n  HostName 127.0.0.1\n  IdentityFile ~/.ssh/work\n"
        "  IdentityFile ~/.ssh/missing\n"
    )
    person = Person()
    assert await whoami(ssh_home.options("gpu"), person) == USER
    assert person.asked[0].startswith(f"gpu ({name_of(sshd)}) ")
    # What is typed goes before.
    with pytest.raises(HostUnreachable, match="the connection was refused"):
        await connect(ssh_home.options("gpu:1"))
    with pytest.raises(SshRefused, match="nobody-here@127"):
        await connect(ssh_home.options("nobody-here@gpu"))


async def test_a_host_key_alias_is_the_name_under_which_the_key_is_kept(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions
) -> None:
    async with ChaosProxy(sshd.port) as proxy:
        ssh_home.configure(f"Host *\n  User {USER}\n  HostKeyAlias pod-1\n")
        assert await whoami(ssh_home.options(f"127.0.0.1:{sshd.port}"), Person()) == USER
        assert let_in.known_hosts_path.read_text() == known_line(sshd, "pod-1")
        assert await whoami(ssh_home.options(f"127.0.0.1:{proxy.port}")) == USER


async def test_the_known_hosts_that_the_configuration_names_is_read(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions
) -> None:
    ssh_home.configure("Host *\n  UserKnownHostsFile ~/.ssh/work_hosts\n")
    (ssh_home.ssh / "work_hosts").write_text(known_line(sshd))
    assert await whoami(let_in) == USER


@pytest.mark.parametrize("forwarded", ["yes", "~/agent", "$SSH_AUTH_SOCK"])
async def test_what_a_configuration_asks_for_people_is_not_given_to_programs(
    ssh_home: SshHome,
    sshd: OpenSshServer,
    let_in: SshOptions,
    ssh_agent: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    forwarded: str,
) -> None:
    (ssh_home.path / "agent").symlink_to(os.environ["SSH_AUTH_SOCK"])
    ssh_agent(ssh_home.ssh / "id_ed25519")
    monkeypatch.setenv("LC_CANARY", "canary")
    monkeypatch.setenv("DISPLAY", ":0")
    ssh_home.configure(
        f"Host *\n  ForwardAgent {forwarded}\n  ForwardX11 yes\n  ForwardX11Trusted yes\n"
        "  RemoteCommand echo wrong\n  RequestTTY force\n  SendEnv LC_*\n  SetEnv LC_OTHER=set\n"
    )
    asked = "echo ${SSH_AUTH_SOCK:-none} ${DISPLAY:-none} ${LC_CANARY:-none} ${LC_OTHER:-none}"
    async with connected(let_in, Person()) as connection:
        done = await connection.run(f"{asked}; tty", check=False)
        async with connection.start_sftp_client() as sftp:
            assert await sftp.exists("/")
    assert str(done.stdout).split("\n")[:2] == ["none none none none", "not a tty"]
    # An agent is there and was used to log in.
    assert "Accepted publickey" in sshd.log


@pytest.fixture
def jump(ssh_home: SshHome, sshd: OpenSshServer, tmp_path: Path) -> Iterator[OpenSshServer]:
    """A second server, through which the first is to be reached as `gpu`."""
    server = OpenSshServer(tmp_path / "jump", {"LogLevel": "DEBUG1"})
    public = ssh_home.key()
    sshd.authorize(USER, public)
    with server.running():
        server.authorize(USER, public)
        ssh_home.configure(
            f"Host bastion\n  HostName 127.0.0.1\n  Port {server.port}\n"
            f"Host gpu\n  HostName 127.0.0.1\n  Port {sshd.port}\n  ProxyJump {USER}@bastion\n"
            f"Host *\n  User {USER}\n"
        )
        yield server


async def test_a_jump_host_is_held_to_the_same_rules_as_the_machine_behind_it(
    ssh_home: SshHome, sshd: OpenSshServer, jump: OpenSshServer
) -> None:
    options = ssh_home.options("gpu")
    with pytest.raises(UnknownHostKey) as raised:
        await connect(options)
    assert raised.value.fingerprint == fingerprint(jump.host_key)
    assert "userauth-request" not in jump.log + sshd.log

    person = Person()
    assert await whoami(options, person) == USER
    assert [question.split()[-1] for question in person.asked] == [
        fingerprint(jump.host_key),
        fingerprint(sshd.host_key),
    ]
    assert options.known_hosts_path.read_text() == known_line(jump) + known_line(sshd)
    assert await whoami(options) == USER
    assert "direct-tcpip" in jump.log


async def test_a_jump_host_whose_key_has_changed_is_refused_before_anything_is_sent(
    ssh_home: SshHome, sshd: OpenSshServer, jump: OpenSshServer, tmp_path: Path
) -> None:
    other = f"[127.0.0.1]:{jump.port} {make_key(tmp_path / 'other')}"
    (ssh_home.ssh / "known_hosts").write_text(known_line(sshd) + other)
    with pytest.raises(HostKeyChanged) as raised:
        await connect(ssh_home.options("gpu"), Person())
    assert raised.value.line_number == 2
    assert "userauth-request" not in jump.log + sshd.log


async def test_the_jump_host_is_let_go_with_the_connection_through_it(
    ssh_home: SshHome, sshd: OpenSshServer, jump: OpenSshServer
) -> None:
    async with ChaosProxy(jump.port) as proxy:
        config = (ssh_home.ssh / "config").read_text()
        ssh_home.configure(config.replace(f"Port {jump.port}", f"Port {proxy.port}"))
        lost: list[AgentError | None] = []
        async with connected(ssh_home.options("gpu"), Person(), lost.append):
            assert proxy.open_count == 1
        await until(lambda: proxy.open_count == 0, "the jump host's connection is closed")
        assert lost == [None]
        # Nor is it kept where the machine behind it cannot be reached.
        ssh_home.configure((ssh_home.ssh / "config").read_text().replace(str(sshd.port), "1"))
        with pytest.raises(HostUnreachable, match="gpu"):
            await connect(ssh_home.options("gpu"), Person())
        await until(lambda: proxy.open_count == 0, "the jump host's connection is closed")


async def test_a_lost_jump_host_is_a_lost_connection(
    ssh_home: SshHome, sshd: OpenSshServer, jump: OpenSshServer
) -> None:
    async with ChaosProxy(jump.port) as proxy:
        config = (ssh_home.ssh / "config").read_text()
        ssh_home.configure(config.replace(f"Port {jump.port}", f"Port {proxy.port}"))
        lost: list[AgentError | None] = []
        async with connected(ssh_home.options("gpu"), Person(), lost.append):
            proxy.cut()
            await until(lambda: bool(lost), "the loss is told")
        assert isinstance(lost[0], HostUnreachable)


async def test_a_jump_host_that_is_meant_by_its_own_rule_is_reached_directly(
    ssh_home: SshHome, sshd: OpenSshServer, jump: OpenSshServer
) -> None:
    ssh_home.configure(
        f"Host bastion\n  HostName 127.0.0.1\n  Port {jump.port}\n"
        f"Host *\n  User {USER}\n  ProxyJump bastion\n"
    )
    assert await whoami(ssh_home.options(f"127.0.0.1:{sshd.port}"), Person()) == USER
    assert f"Accepted publickey for {USER}" in jump.log


async def test_jump_hosts_in_a_circle_are_refused(ssh_home: SshHome) -> None:
    ssh_home.configure("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    with pytest.raises(SshRefused, match="circle"):
        await connect(ssh_home.options("a"))


RELAY = (
    "import os, socket, sys, threading\n"
    "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
    "print('a word of the proxy', file=sys.stderr)\n"
    "def up():\n"
    "    while data := os.read(0, 65536): s.sendall(data)\n"
    "    s.shutdown(1)\n"
    "threading.Thread(target=up, daemon=True).start()\n"
    "while data := s.recv(65536): os.write(1, data)\n"
)


async def test_a_proxy_command_is_run_by_a_shell_and_may_complain(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions, tmp_path: Path
) -> None:
    (tmp_path / "relay.py").write_text(RELAY)
    ssh_home.configure(
        f"Host gpu\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {USER}\n"
        f"  ProxyCommand {sys.executable} {tmp_path}/relay.py %h %p && true\n"
    )
    person = Person()
    assert await whoami(ssh_home.options("gpu"), person) == USER
    assert person.asked == [f"gpu ({name_of(sshd)}) ssh-ed25519 {fingerprint(sshd.host_key)}"]


async def test_a_proxy_command_that_fails_is_named_with_what_it_says(ssh_home: SshHome) -> None:
    ssh_home.configure("Host gpu\n  ProxyCommand echo no such door >&2; exit 1\n")
    with pytest.raises(HostUnreachable, match=r"ProxyCommand of .* failed: no such door"):
        await connect(ssh_home.options("gpu"))


async def test_a_half_open_link_is_noticed(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions
) -> None:
    async with ChaosProxy(sshd.port) as proxy:
        options = ssh_home.options(
            f"{USER}@127.0.0.1:{proxy.port}", keepalive_interval_s=0.2, keepalive_count_max=2
        )
        lost: list[AgentError | None] = []
        async with connected(options, Person(), lost.append) as connection:
            await connection.run("true", check=True)
            assert lost == []
            proxy.stall()
            await until(lambda: bool(lost), "the loss is told")
            assert connection.is_closed()
        [error] = lost
        assert isinstance(error, HostUnreachable)
        assert "keepalive" in str(error)


def test_a_half_open_link_is_noticed_within_half_a_minute_by_default(ssh_home: SshHome) -> None:
    options = SshOptions(ssh_home.options("gpu").address, ssh_home.known_hosts)
    assert options.keepalive_interval_s * (options.keepalive_count_max + 1) <= 30


async def test_a_cut_connection_is_told_once(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions
) -> None:
    async with ChaosProxy(sshd.port) as proxy:
        lost: list[AgentError | None] = []
        options = ssh_home.options(f"{USER}@127.0.0.1:{proxy.port}")
        async with connected(options, Person(), lost.append):
            proxy.cut()
            await until(lambda: bool(lost), "the loss is told")
        assert [type(error) for error in lost] == [HostUnreachable]
        assert f"127.0.0.1:{proxy.port}" in str(lost[0])


async def test_a_cancelled_attempt_leaves_nothing_open(
    ssh_home: SshHome, sshd: OpenSshServer, let_in: SshOptions
) -> None:
    async with ChaosProxy(sshd.port) as proxy:
        proxy.stall()
        attempt = asyncio.create_task(
            connect(ssh_home.options(f"{USER}@127.0.0.1:{proxy.port}"), Person())
        )
        await until(lambda: proxy.open_count == 1, "the attempt has begun")
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        proxy.resume()
        await until(lambda: proxy.open_count == 0, "the attempt has ended")
