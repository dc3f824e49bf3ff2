"""`brightrun` and its agent as real processes, on the real trainer, in directories of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.detach import stop_agent
from agent.process import ProcessIdentity
from agent.run_directory import AgentRoot, AttemptDirectory
from shared.events import JournalRecord, decode_journal_record

SETTINGS = {
    "num_epochs": 1,
    "batch_size": 1,
    "gradient_accumulation_steps": 2,
    "learning_rate": 5e-3,
}
"""On the short file: six optimizer steps, each under a second."""


class Road:
    """One user's home on one machine."""

    def __init__(self, path: Path, dataset: Path) -> None:
        self.dataset = dataset
        self.root = AgentRoot(path / "home" / "agent")
        self.environment = {
            **os.environ,
            "BRIGHTRUN_HOME": str(path / "home"),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }

    def brightrun(self, *arguments: object) -> subprocess.Popen[str]:
        """A `brightrun` process that is running."""
        return subprocess.Popen(
            [sys.executable, "-c", "from tui.cli import main; main()", *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object, timeout_s: float = 180) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of a `brightrun` process."""
        process = self.brightrun(*arguments)
        out, err = process.communicate(timeout=timeout_s)
        return process.returncode, out, err

    def start(self, job_id: str, *arguments: object) -> tuple[int, str, str]:
        """Start the short job under its own id, a checkpoint at every chance."""
        settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
        return self.run(
            "start", "--dataset", self.dataset, "--job-id", job_id, *settings, *arguments
        )

    def show(self, job_id: str) -> dict[str, Any]:
        """`brightrun show --json`, parsed."""
        code, out, err = self.run("show", job_id, "--json")
        assert code == 0, err
        return dict(json.loads(out))

    def attempt(self, job_id: str, number: int = 1) -> AttemptDirectory:
        return self.root.job(job_id).attempt(number)

    def journal(self, job_id: str, number: int = 1) -> list[JournalRecord]:
        """The agent's journal of one attempt, as it lies on the disk."""
        path = self.attempt(job_id, number).journal_path
        if not path.exists():
            return []
        content = path.read_bytes()
        return [
            decode_journal_record(line) for line in content[: content.rfind(b"\n") + 1].splitlines()
        ]

    def agent_pid(self) -> int:
        """The pid that the running agent has written down."""
        return int(json.loads(self.root.address_path.read_text())["pid"])

    def trainer(self, job_id: str, number: int = 1) -> ProcessIdentity:
        """The trainer of an attempt, as its shim has written it down."""
        record = json.loads(self.attempt(job_id, number).shim_path.read_text())
        return ProcessIdentity(
            pid=record["trainer_pid"],
            start_time=record["trainer_start_time"],
            boot_id=record["boot_id"],
        )

    def end_agent(self) -> None:
        """End the agent, if there is one, as its user would."""
        stop_agent(self.root)


def wait_until(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    """Wait for a condition; fails loudly at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
