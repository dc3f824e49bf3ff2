"""A pod in a temporary directory: real agents, real trainers without torch, real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect, unix_connect

from agent.attempt import SupervisionSettings
from agent.fence import Fence, own_mark
from agent.launch import ShimRecord, read_shim, settle
from agent.process import ProcessIdentity, boot_id, send_signal, send_signal_to_group
from agent.run_directory import AgentRoot, AttemptDirectory
from agent.serve import AgentAddress, socket_directory
from agent.supervisor import Supervisor
from shared.agent_protocol import MachineLimits
from shared.dataset.storage import store_dataset
from shared.events import JournalRecord, Metrics, decode_journal_record
from shared.job_spec import DatasetReference, JobSpec
from tests.fakes.pod_api import PodApi, serve_pod_api

STAND_IN = Path(__file__).parent.parent / "fakes" / "stand_in_trainer.py"
TRAINER_COMMAND = (sys.executable, str(STAND_IN))


class Pod:
    """One root, one dataset, and everything that a test starts on them."""

    trainer_command = shlex.join(TRAINER_COMMAND)

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = AgentRoot(path / "root")
        self.dataset = path / "dataset.jsonl"
        self.dataset.write_text('{"conversation": "one"}\n')
        self.agents: list[subprocess.Popen[bytes]] = []
        self.supervisors: list[Supervisor] = []

    def spec(self, notes: str = "", **changes: Any) -> JobSpec:
        reference = DatasetReference.of(self.dataset)
        store_dataset(self.dataset, self.root.datasets_path, reference)
        values = {"job_id": "job-one", "name": "job one", "dataset": reference, "notes": notes}
        return JobSpec(**{**values, **changes})

    def job_file(self, notes: str = "", job_id: str = "job-one") -> Path:
        path = self.path / "job.toml"
        path.write_text(f'job_id = "{job_id}"\nnotes = "{notes}"\ndataset = "dataset.jsonl"\n')
        return path

    async def supervisor(self, **settings: Any) -> Supervisor:
        """A supervisor in this process, after its recovery."""
        values = {"trainer_command": TRAINER_COMMAND, "poll_s": 0.02, **settings}
        fence = Fence(self.root.path, own_mark(self.root.path))
        supervisor = Supervisor(self.root, SupervisionSettings(**values), fence)
        self.supervisors.append(supervisor)
        await supervisor.recover()
        return supervisor

    def rent(self, rental: int, api: str = "http://127.0.0.1:9") -> Path:
        """Let this be a rented machine, as its start command does; returns its run directory."""
        run_directory = self.path / f"run-{rental}"
        run_directory.mkdir(exist_ok=True)
        pod = {"rental": rental, "pod_id": f"pod{rental}", "api_key": "rpa_canary", "api": api}
        (run_directory / "pod.json").write_text(json.dumps(pod))
        self.root.path.mkdir(exist_ok=True)
        mark = {"rental": rental, "run_directory": str(run_directory)}
        (self.root.path / "machine.json").write_text(json.dumps(mark))
        return run_directory

    async def close(self, supervisor: Supervisor) -> None:
        self.supervisors.remove(supervisor)
        await supervisor.close()

    async def start_agent(self, *options: str) -> subprocess.Popen[bytes]:
        """A real agent process that answers."""
        arguments = ["serve", "--root", str(self.root.path), *options]
        command = [sys.executable, "-P", "-m", "agent.cli", *arguments]
        environment = {**os.environ, "BRIGHTRUN_SECRET": "a secret"}
        agent = subprocess.Popen(
            [*command, "--trainer-command", self.trainer_command], env=environment
        )
        self.agents.append(agent)
        await self.until(lambda: self._answers(agent), 20)
        return agent

    def _answers(self, agent: subprocess.Popen[bytes]) -> bool:
        assert agent.poll() is None, "the agent ended at once"
        return self.root.address_path.exists() and self.address().pid == agent.pid

    def address(self) -> AgentAddress:
        return AgentAddress.model_validate_json(self.root.address_path.read_text())

    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.root.token_path.read_text()}"}

    def client(self, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=self.address().socket),
            base_url="http://agent",
            headers=self.authorization() if headers is None else headers,
        )

    def websocket(self, path: str, headers: dict[str, str] | None = None) -> connect:
        return unix_connect(
            self.address().socket,
            f"ws://agent{path}",
            additional_headers=self.authorization() if headers is None else headers,
        )

    async def watch(self, path: str) -> list[JournalRecord]:
        """Every record of the stream until the agent closes it."""
        records = []
        async with self.websocket(path) as connection:
            async for frame in connection:
                lines = str(frame).split("\n")
                assert len(lines) <= 200
                records += [decode_journal_record(line) for line in lines]
            assert connection.close_code == 1000
        return records

    def attempt(self, number: int, job_id: str = "job-one") -> AttemptDirectory:
        return self.root.job(job_id).attempt(number)

    async def trainer_of(self, number: int, job_id: str = "job-one") -> ShimRecord:
        """Who runs this attempt, once somebody does."""
        await self.until(lambda: read_shim(self.attempt(number, job_id)) is not None)
        record = read_shim(self.attempt(number, job_id))
        assert record is not None
        return record

    def attempts(self) -> list[AttemptDirectory]:
        return [attempt for job in self.root.jobs() for attempt in job.attempts()]

    def shims(self) -> list[ShimRecord]:
        found = map(read_shim, self.attempts())
        return [record for record in found if record is not None]

    @staticmethod
    async def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.02)

    async def until_step(self, step: int, attempt: int = 1) -> None:
        """Until the trainer has written this step to its own file."""
        path = self.attempt(attempt).trainer_events_path
        needle = f'"step":{step},'.encode()
        await self.until(lambda: path.exists() and needle in path.read_bytes())

    @staticmethod
    async def until_final(supervisor: Supervisor, job_id: str = "job-one") -> list[JournalRecord]:
        async with asyncio.timeout(20):
            follow = supervisor.job(job_id).follow((0, 0), 100)
            return [decode_journal_record(line) async for lines in follow for line in lines]

    async def clean_up(self) -> None:
        for supervisor in self.supervisors:
            await supervisor.close()
        for agent in self.agents:
            agent.kill()
            agent.wait()
        if self.root.address_path.exists():
            address = self.address()
            detached = ProcessIdentity(address.pid, address.start_time, boot_id())
            send_signal(detached, signal.SIGKILL)
        directory = socket_directory(self.root)
        for made in (directory, Path("/dev/shm") / directory.name):
            shutil.rmtree(made, ignore_errors=True)
        for attempt in self.attempts():
            # A shim may still be on its way to starting a trainer that nobody would end.
            record = settle(attempt, exit_code=None)
            if record is not None:
                send_signal_to_group(record.trainer, signal.SIGKILL)
                send_signal(record.shim, signal.SIGKILL)


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    made = Pod(tmp_path)
    yield made
    await made.clean_up()


@pytest.fixture
def limits() -> Callable[..., MachineLimits]:
    """Limits that nothing here reaches, with changes."""

    def made(rental: int = 1, **changes: Any) -> MachineLimits:
        values = {
            "rental": rental,
            "usd_per_hour": 2.0,
            "spent_usd": 1.0,
            "budget_usd": 50.0,
            "reserve_usd": 2.0,
            "deadline_s": 3600.0,
            "results_survive": True,
            "idle_end_s": 600.0,
        }
        return MachineLimits(**{**values, **changes})

    return made


@pytest.fixture
def pod_api() -> Iterator[PodApi]:
    with serve_pod_api() as served:
        yield served


@pytest.fixture
def steps_of() -> Callable[[list[JournalRecord]], list[tuple[int, int]]]:
    """(attempt, step) of each metrics record."""

    def steps(records: list[JournalRecord]) -> list[tuple[int, int]]:
        return [(r.attempt, r.event.step) for r in records if isinstance(r.event, Metrics)]

    return steps
