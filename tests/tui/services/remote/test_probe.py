from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any

import pytest

from agent.process import identify
from shared.errors import ProtocolError
from tests.remote.local_shell import LocalShell
from tui.services.remote.probe import (
    new_sentinel,
    read_state,
    read_tools,
    state_script,
    tools_script,
)
from tui.services.remote.state import RemoteState, RemoteTools, TrainerFile

CODE = "0123456789ab"


@pytest.fixture
def shell(tmp_path: Path) -> LocalShell:
    (tmp_path / "home").mkdir()
    return LocalShell(tmp_path / "home")


@pytest.fixture
def root(shell: LocalShell) -> Path:
    path = shell.home / "base" / "agent"
    path.mkdir(parents=True)
    return path


async def look(shell: LocalShell, base: str = "~/base") -> RemoteState:
    sentinel = new_sentinel()
    done = await shell.run(state_script(base, sentinel))
    assert done.stderr == ""
    return read_state(done.stdout, sentinel, code_hash=CODE, protocol=1)


async def look_at_tools(shell: LocalShell) -> RemoteTools:
    sentinel = new_sentinel()
    done = await shell.run(tools_script(f"{shell.home}/base", sentinel))
    return read_tools(done.stdout, sentinel)


async def test_a_bare_machine_has_nothing_yet(shell: LocalShell) -> None:
    assert await look(shell) == RemoteState(system="Linux", base=f"{shell.home}/base")


@pytest.mark.parametrize("base", ["~/x y", "x y", "{home}/x y"])
async def test_the_directory_is_told_from_the_root(shell: LocalShell, base: str) -> None:
    assert (await look(shell, base.format(home=shell.home))).base == f"{shell.home}/x y"


class Agent:
    """A process with a socket that says of itself what an agent says."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.root = root
        self.process = subprocess.Popen(["sleep", "600"])
        self.server = socket(AF_UNIX)
        self.path = directory / "agent.sock"
        self.server.bind(str(self.path))

    def write(self, **changes: Any) -> None:
        process = identify(self.process.pid)
        assert process is not None
        address = {
            "socket": str(self.path),
            "pid": process.pid,
            "start_time": process.start_time,
            "version": "0.1.0",
            "protocol": 1,
            "started_at": "2026-11-22T00:00:00Z",
            "code": f"{self.root.parent}/code/{CODE}",
            "python": "/usr/bin/python3",
        }
        (self.root / "agent.json").write_text(json.dumps({**address, **changes}))
        (self.root / "agent.token").write_text("a-secret")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.server.close()


@pytest.fixture
def agent(root: Path, tmp_path: Path) -> Iterator[Agent]:
    made = Agent(root, tmp_path)
    yield made
    made.close()


async def test_a_running_agent_is_found_among_the_noise_of_login_scripts(
    shell: LocalShell, agent: Agent
) -> None:
    agent.write()
    shell.noise = "Welcome!\nagent:none\nbase:/tmp\n\x1b[31mno newline at the end"

    found = (await look(shell)).agent

    assert found is not None
    assert (found.socket, found.token, found.pid) == (
        str(agent.path),
        "a-secret",
        agent.process.pid,
    )
    assert found.is_current
    assert "a-secret" not in repr(found)


async def test_a_dead_agent_is_none(shell: LocalShell, agent: Agent) -> None:
    agent.write()
    agent.process.send_signal(signal.SIGKILL)
    # Not reaped yet: a zombie holds its pid and its start time.
    async with asyncio.timeout(5):
        while (await look(shell)).agent is not None:
            pass
    agent.process.wait()
    assert (await look(shell)).agent is None


async def test_another_process_of_the_same_pid_is_not_the_agent(
    shell: LocalShell, agent: Agent
) -> None:
    agent.write(start_time=1)
    assert (await look(shell)).agent is None


async def test_an_agent_whose_socket_is_gone_is_none(shell: LocalShell, agent: Agent) -> None:
    agent.write()
    agent.path.unlink()
    assert (await look(shell)).agent is None


@pytest.mark.parametrize(
    "changes",
    [{"socket": 'x"; rm -rf ~'}, {"version": "\x1b]0;owned\x07"}, {"pid": "$(id)"}, {"pid": None}],
)
async def test_an_address_that_makes_no_sense_is_no_agent(
    shell: LocalShell, agent: Agent, changes: dict[str, Any]
) -> None:
    agent.write(**changes)
    assert (await look(shell)).agent is None


@pytest.mark.parametrize(
    ("changes", "is_current"),
    [
        ({"code": "{base}/code/ba9876543210"}, False),
        ({"code": ""}, False),
        ({"code": "/usr/lib/python3/dist-packages"}, True),
        ({"code": "/usr/lib/python3/dist-packages", "protocol": 99}, False),
    ],
)
async def test_an_agent_is_current_with_our_code_or_as_its_owners_if_we_can_speak_with_it(
    shell: LocalShell, agent: Agent, changes: dict[str, Any], is_current: bool
) -> None:
    code = changes["code"].format(base=agent.root.parent)
    agent.write(**{**changes, "code": code})
    found = (await look(shell)).agent
    assert found is not None
    assert found.is_current is is_current


async def test_only_what_is_stamped_is_there(shell: LocalShell, root: Path) -> None:
    for name in ("code/a", "env/b", "trainer-env/c"):
        (root.parent / name).mkdir(parents=True)
        (root.parent / name / ".complete").touch()
        (root.parent / f"{name}-half").mkdir()
    found = await look(shell)
    assert (found.codes, found.environments, found.trainer_environments) == ({"a"}, {"b"}, {"c"})


@pytest.mark.parametrize(
    ("command", "key", "is_there"),
    [
        ("{home}/base/trainer-env/a/bin/python", "a", True),
        ("{home}/base/trainer-env/b/bin/python", "b", False),
        ("{home}/image/trainer-env/b/bin/python", "b", True),
        ("{home}/image/trainer-env/a/bin/python", "a", False),
    ],
)
async def test_the_trainer_that_is_named_may_lie_in_the_image_or_have_stayed_with_another(
    shell: LocalShell, root: Path, command: str, key: str, is_there: bool
) -> None:
    for stamp in ("base/trainer-env/a", "image/trainer-env/b"):
        (shell.home / stamp).mkdir(parents=True)
        (shell.home / stamp / ".complete").touch()
    root.mkdir(parents=True, exist_ok=True)
    named = {"command": [command.format(home=shell.home)], "key": key}
    (root / "trainer.json").write_text(json.dumps(named))
    sentinel, prebuilt = new_sentinel(), f"{shell.home}/image"
    done = await shell.run(state_script("~/base", sentinel, prebuilt))
    found = read_state(done.stdout, sentinel, code_hash=CODE, protocol=1, prebuilt=prebuilt)
    assert found.has_named_trainer is is_there


@pytest.mark.parametrize(
    ("text", "trainer"),
    [
        ('{"command": ["python", "-P"], "key": "abc"}', TrainerFile(("python", "-P"), "abc")),
        ('{"command": ["my trainer"]}', TrainerFile(("my trainer",), None)),
        ("not JSON\nin two lines", TrainerFile((), None)),
    ],
)
async def test_a_trainer_file_is_ours_only_with_a_key(
    shell: LocalShell, root: Path, text: str, trainer: TrainerFile
) -> None:
    (root / "trainer.json").write_text(text)
    assert (await look(shell)).trainer == trainer


@pytest.mark.parametrize("output", ["", "sh: not found", "{0} begin\nbase:/x\n", "{0} end\n"])
def test_an_answer_that_was_cut_off_is_none(output: str) -> None:
    with pytest.raises(ProtocolError, match="did not answer as a POSIX shell"):
        read_state(output.format("s"), "s", code_hash=CODE, protocol=1)


def test_what_a_hostile_machine_says_gets_into_no_error_as_it_is() -> None:
    with pytest.raises(ProtocolError) as caught:
        read_state("s begin\nbase:\x1b]52;c;AAAA\x07x\ns end", "s", code_hash=CODE, protocol=1)
    assert "\x1b" not in str(caught.value)


async def test_a_shim_of_a_python_that_is_not_there_is_left_out(
    shell: LocalShell, tmp_path: Path
) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    for name, script in {
        "python3.11": "echo 'pyenv: python3.11: command not found'; exit 127",
        "python3.12": f'exec {sys.executable} "$@"',
        "python3.13": "echo 'hello: 3.13'",
        "python3.14": "exit 0",
    }.items():
        (shims / name).write_text(f"#!/bin/sh\n{script}\n")
        (shims / name).chmod(0o755)
    shell.path = f"{shims}:/usr/bin:/bin"

    tools = await look_at_tools(shell)

    assert not any(python.path.startswith(str(shims)) for python in tools.pythons)
    assert sys.executable in {python.path for python in tools.pythons}
    assert all(python.has_venv for python in tools.usable)
    assert tools.architecture == os.uname().machine
    assert tools.free_bytes is not None and tools.free_bytes > 0


def test_the_oldest_python_that_will_do_comes_first_and_too_old_ones_last() -> None:
    lines = [
        "python:3.9.2\t/usr/bin/python3\ta\t1\t1",
        "python:3.14.0\t/opt/python3.14\tb\t1\t1",
        "python:3.12.1\t/opt/python3.12\tc\t1\t0",
        "python:3.12.4\t/opt/conda/bin/python\td\t1\t1",
        "python:3.11.2\t/opt/novenv/python\te\t0\t0",
        "python:3.12.1\t/usr/local/bin/python3.12\tc\t1\t0",
    ]
    tools = read_tools("\n".join(["s begin", *lines, "uv:/usr/bin/uv", "s end"]), "s")

    assert [python.path for python in tools.usable] == [
        "/opt/conda/bin/python",
        "/opt/python3.12",
        "/opt/python3.14",
    ]
    assert tools.uv == "/usr/bin/uv"
    assert "3.9.2 (/usr/bin/python3)" in tools.describe_pythons()


def test_a_python_that_says_something_else_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="a Python there answered 'rubbish"):
        read_tools("s begin\npython:rubbish\t\x1b[31m\ns end", "s")
