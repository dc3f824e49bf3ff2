"""The command line against a real agent process; only the trainer is a stand-in."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import pytest

from shared.manifest import verify
from tui.cli import run_app
from tui.command_line import app
from tui.services.hosts.local import LocalHost

STAND_IN = Path(__file__).parent.parent / "fakes" / "stand_in_trainer.py"


class Console:
    """`brightrun` as a user types it, with a home and an agent of its own."""

    def __init__(self, path: Path) -> None:
        self.root = path / "agent"
        self.environment = {
            **os.environ,
            "BRIGHTRUN_HOME": str(path / "home"),
            "BRIGHTRUN_AGENT_ROOT": str(self.root),
        }
        self.dataset = path / "train.json"
        self.dataset.write_text(json.dumps(_document()))

    def popen(self, *arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from tui.cli import main; main()"]
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


def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _document() -> dict[str, object]:
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


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = Console(tmp_path_factory.mktemp("console"))
    made.start_agent()
    yield made
    made.kill_agent()


def test_a_job_goes_from_its_file_to_a_fetched_adapter(console: Console, tmp_path: Path) -> None:
    code, out, err = console.start("job-whole", "steps=4")
    assert (code, err) == (0, "")
    assert "job-whole started." in out

    code, out, _ = console.run("watch", "job-whole")
    assert code == 0
    steps = [line.split("step ")[1].split()[0] for line in out.splitlines() if "  step " in line]
    assert steps == ["1/4", "2/4", "3/4", "4/4"]

    code, out, _ = console.run("fetch", "job-w", "--to", tmp_path)
    assert (code, out) == (0, f"{tmp_path}/job-whole\n")
    assert verify(tmp_path / "job-whole" / "adapter")["job"] == "stand-in"

    code, out, _ = console.run("logs", "job-whole", "--follow")
    assert (code, out) == (0, "the stand-in trainer écrit no secret\n")


def test_starting_the_same_job_again_changes_nothing(console: Console) -> None:
    assert console.start("job-twice", "steps=2", "--watch")[0] == 0

    code, out, _ = console.start("job-twice", "steps=2", "--json")
    assert code == 0
    assert json.loads(out) == {"job_id": "job-twice", "created": False, "status": "completed"}

    code, _, err = console.start("job-twice", "steps=3")
    assert code == 2
    assert "--job-id" in err


def test_a_job_that_fails_makes_the_watcher_fail(console: Console) -> None:
    code, _, err = console.start("job-crash", "steps=3 at=2 dies=crash", "--watch")

    assert code == 1
    assert "job-crash failed: trainer_crashed" in err


def test_an_interrupted_watcher_leaves_the_job_running_until_it_is_cancelled(
    console: Console,
) -> None:
    console.start("job-long", "steps=1000 delay=0.05")
    watcher = console.popen("watch", "job-long")
    assert watcher.stdout is not None
    assert any("step 1/1000" in line for line in watcher.stdout)

    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=20)
    assert watcher.returncode == 130
    assert "the job goes on" in err
    assert json.loads(console.run("show", "job-long", "--json")[1])["status"] == "training"

    assert console.run("cancel", "job-long", "--reason", "seen enough")[0] == 0
    code, out, _ = console.run("watch", "job-long")
    assert code == 3
    assert "cancel requested: seen enough" in out
    assert console.run("fetch", "job-long")[0] == 2


def test_a_killed_agent_is_started_again_by_the_watcher(tmp_path: Path) -> None:
    console = Console(tmp_path)
    console.start_agent()
    console.start("job-alone", "steps=20 delay=0.1")
    watcher = console.popen("watch", "job-alone")
    assert watcher.stdout is not None
    assert any("step 2/20" in line for line in watcher.stdout)

    console.kill_agent()
    assert "; unreachable: " in console.run("jobs")[2]
    # Not `communicate`: it forgets the lines that were read ahead.
    out = watcher.stdout.read()
    watcher.communicate()

    assert watcher.returncode == 0
    assert "the job may well be running" in out
    steps = [line.split("step ")[1].split()[0] for line in out.splitlines() if "  step " in line]
    assert steps == [f"{step}/20" for step in range(3, 21)]
    console.end_detached_agent()


def test_a_console_starts_the_agent_of_its_machine_and_leaves_it_running(tmp_path: Path) -> None:
    console = Console(tmp_path)
    host = LocalHost(console.root)

    health = asyncio.run(host.ensure_agent())
    assert asyncio.run(host.ensure_agent()) == health

    assert health.pid == console.agent_pid()
    console.end_detached_agent()


def test_an_agent_that_cannot_start_says_why(tmp_path: Path) -> None:
    console = Console(tmp_path)
    console.root.write_text("a file is in the way")

    code, _, err = console.start("job-nowhere")

    assert code == 5
    assert "Traceback" not in err
    assert "--job-id job-nowhere" in err
    assert json.loads(console.run("show", "job-nowhere", "--json")[1])["status"] == "queued"
