"""A home, a training file and a real agent process with a stand-in trainer, as a user has them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from agent.run_directory import AgentRoot
from agent.serve import socket_directory
from tui.cli import run_app
from tui.command_line import app

STAND_IN = Path(__file__).parent.parent / "fakes" / "stand_in_trainer.py"


# As from a terminal: whoever runs the tests in the background may ignore SIGINT for all of them.
_MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from tui.cli import main; main()"
)


class Console:
    """`brightrun` as a user types it, with a home and an agent of its own."""

    def __init__(self, path: Path) -> None:
        self.root = path / "agent"
        self.home = path / "home"
        self.environment = {
            **os.environ,
            "BRIGHTRUN_HOME": str(self.home),
            "BRIGHTRUN_AGENT_ROOT": str(self.root),
        }
        self.dataset = path / "train.json"
        self.dataset.write_text(json.dumps(document()))

    def popen(self, *arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _MAIN]
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """The same in this process, which is faster: (exit code, stdout, stderr)."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = run_app(app, [str(argument) for argument in arguments])
        return code, out.getvalue(), err.getvalue()

    async def call(self, *arguments: str | Path) -> int:
        """The same in a process of its own, from a test that has a loop: the exit code."""
        process = self.popen(*arguments)
        await asyncio.to_thread(process.communicate)
        return process.returncode

    async def start_beside(self, job_id: str, notes: str, name: str) -> None:
        """Start a job from another process."""
        arguments = ("--dataset", self.dataset, "--job-id", job_id, "--notes", notes)
        assert await self.call("start", *arguments, "--name", name) == 0

    def start(self, job_id: str, notes: str = "", *more: str) -> tuple[int, str, str]:
        """A job whose notes tell the stand-in trainer what to do."""
        arguments = ("--dataset", self.dataset, "--job-id", job_id, "--notes", notes)
        return self.run("start", *arguments, *more)

    def start_agent(self) -> None:
        command = [sys.executable, "-P", "-m", "agent.cli", "serve", "--root", str(self.root)]
        trainer = shlex.join([sys.executable, str(STAND_IN)])
        self.agent = subprocess.Popen([*command, "--trainer-command", trainer])
        until(lambda: self.agent_pid() == self.agent.pid)

    def kill_agent(self) -> None:
        """Kill the agent that `start_agent` started."""
        self.agent.kill()
        self.agent.wait()

    def agent_pid(self) -> int | None:
        try:
            return int(json.loads((self.root / "agent.json").read_text())["pid"])
        except (OSError, ValueError):
            return None

    def end_detached_agent(self) -> None:
        """End the agent that the console started."""
        pid = self.agent_pid()
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists())


def end_agents_under(directory: Path) -> None:
    """End the agents that a console has brought up there, those too that only just begin."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"agent.cli" in command and any(os.fsencode(directory) in word for word in command):
            os.kill(int(path.name), signal.SIGTERM)
            until(lambda path=path: not path.exists())  # type: ignore[misc]


def forget_secrets(root: Path) -> None:
    """Remove what a killed agent has kept in memory, as a restart of the machine does."""
    for directory in Path("/dev/shm").glob("brightrun-*"):
        if directory.name == socket_directory(AgentRoot(root)).name:
            shutil.rmtree(directory, ignore_errors=True)


def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def document() -> dict[str, object]:
    """A training file of one conversation."""
    pair = {
        "id": "p1",
        "conversation_id": "c1",
        "turn_number": 1,
        "system_prompt": "Be kind.",
        "conversation_history": [],
        "current_user_input": "Hi",
        "target_response": "Hello there.",
    }
    conversation = {
        "conversation_metadata": {"conversation_id": "c1"},
        "training_pairs": [pair],
    }
    return {
        "training_file_metadata": {"version": "4.0.0", "format_spec": "brightrun-lora-v4"},
        "consultant_profile": {},
        "conversations": [conversation],
    }
