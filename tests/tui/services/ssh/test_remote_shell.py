"""Scripts and files on a machine, over a real OpenSSH server that runs as this user."""

from __future__ import annotations

import asyncio
import getpass
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import asyncssh
import pytest

from shared.errors import DatasetChanged, HostUnreachable, RemoteScriptFailed
from tests.remote.sshd import NO_SSHD, SSHD, OpenSshServer, make_key
from tui.services.ssh.remote_shell import SshShell

pytestmark = pytest.mark.skipif(SSHD is None, reason=NO_SSHD)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSshServer]:
    with OpenSshServer(tmp_path_factory.mktemp("sshd")).running() as running:
        running.authorize(getpass.getuser(), make_key(running.directory / "id"))
        yield running


@pytest.fixture
async def connection(server: OpenSshServer) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(
        "127.0.0.1",
        server.port,
        username=getpass.getuser(),
        client_keys=[str(server.directory / "id")],
        known_hosts=None,
        config=None,
        agent_path=None,
    ) as made:
        yield made


@pytest.fixture
def shell(connection: asyncssh.SSHClientConnection) -> SshShell:
    async def connected() -> asyncssh.SSHClientConnection:
        return connection

    return SshShell("ssh:box", connected)


async def test_a_script_gives_its_output_and_status(shell: SshShell) -> None:
    done = await shell.run("echo 'a \"b\" $HOME' ; echo no >&2; exit 7")

    assert (done.exit_status, done.stdout, done.stderr) == (7, 'a "b" $HOME\n', "no\n")


async def test_no_command_of_a_script_reads_the_rest_of_it(shell: SshShell) -> None:
    assert (await shell.run("cat\necho still here")).stdout == "still here\n"


async def test_a_script_is_in_no_arguments(shell: SshShell) -> None:
    done = await shell.run("secret=canary-77; cat /proc/$$/cmdline")

    assert "canary" not in done.stdout


async def test_lines_come_as_they_are_written(shell: SshShell, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with aclosing(
        shell.lines(f"echo one; while [ ! -e {gate} ]; do sleep 0.05; done; echo two >&2")
    ) as lines:
        assert await anext(lines) == "one"
        gate.touch()
        assert [line async for line in lines] == ["two"]


async def test_a_script_that_fails_says_its_last_words_without_control_characters(
    shell: SshShell,
) -> None:
    with pytest.raises(RemoteScriptFailed, match="status 3: disk full") as failure:
        async for _ in shell.lines(r"printf 'disk \033]52;c;eA==\007full\n'; exit 3"):
            pass

    assert "\x1b" not in str(failure.value)


async def test_a_script_that_takes_too_long_is_a_machine_that_does_not_answer(
    shell: SshShell,
) -> None:
    with pytest.raises(HostUnreachable, match=r"ssh:box: a command there took more than 0\.2 s"):
        await shell.run("sleep 30", timeout_s=0.2)


async def test_a_connection_that_breaks_in_a_script_is_not_an_answer(
    shell: SshShell, connection: asyncssh.SSHClientConnection
) -> None:
    running = asyncio.create_task(shell.run("sleep 30"))
    await asyncio.sleep(0)
    while not connection._channels:  # until the command is under way
        await asyncio.sleep(0.01)
    # As when the server's process is killed: the end of the stream, and not a word.
    assert await _kill_session(connection)

    with pytest.raises(HostUnreachable, match="ssh:box: the connection broke"):
        await running


async def _kill_session(connection: asyncssh.SSHClientConnection) -> bool:
    """End the server's process of this connection, as its own child sees it."""
    done = await connection.run("kill -9 $PPID", check=False)
    return done.exit_status is None


async def test_a_file_is_private_whole_and_in_a_private_directory(
    shell: SshShell, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "deep" / "file.bin"
    await shell.put(b"x" * 300_000, str(target))

    assert target.read_bytes() == b"x" * 300_000
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
    assert os.listdir(target.parent) == ["file.bin"]


async def test_a_file_that_is_sent_again_replaces_the_old_one(
    shell: SshShell, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    target = tmp_path / "there" / "file.bin"
    await shell.put(b"old", str(target))
    told: list[tuple[int, int]] = []

    await shell.upload(source, str(target), progress=lambda *sizes: told.append(sizes))

    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert told[-1] == (3_000_000, 3_000_000)


async def test_a_file_that_does_not_pass_the_check_never_gets_its_name(
    shell: SshShell, tmp_path: Path
) -> None:
    target = tmp_path / "there" / "file.bin"

    async def refuse(part: str) -> None:
        assert Path(part).read_bytes() == b"content"
        raise DatasetChanged("no")

    with pytest.raises(DatasetChanged):
        await shell.upload(b"content", str(target), refuse)

    assert list(target.parent.iterdir()) == []
