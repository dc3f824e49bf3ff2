from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
from contextlib import aclosing
from pathlib import Path

import pytest

from agent.installation.trainer_stack import MODULES
from agent.process import is_alive, send_signal
from shared.agent_protocol import PROTOCOL_VERSION
from shared.dataset.storage import store_dataset
from shared.errors import AgentOutdated, InstallationFailed, InvalidInput
from shared.job_spec import DatasetReference, JobSpec
from tests.remote.local_shell import LocalShell
from tests.remote.package_index import use_index, use_no_index, write_stack
from tests.tui.local_console import STAND_IN
from tests.tui.services.remote.conftest import FirstMachine, Machine
from tui.services.agent_client import AgentAddress, AgentClient
from tui.services.remote.payload import Payload, build_payload
from tui.services.remote.state import RunningAgent


def client(agent: RunningAgent) -> AgentClient:
    return AgentClient(AgentAddress(Path(agent.socket), agent.token))


def other_version(payload: Payload, *, protocol: int | None = None) -> Payload:
    files = {**payload.files, "shared/other_version.py": b""}
    if protocol is not None:
        name = "shared/agent_protocol.py"
        ours = f"PROTOCOL_VERSION = {PROTOCOL_VERSION}"
        files[name] = files[name].replace(ours.encode(), f"PROTOCOL_VERSION = {protocol}".encode())
        assert files[name] != payload.files[name]
    return Payload(files)


def test_four_consoles_at_once_leave_one_agent_and_one_environment(
    first_machine: FirstMachine,
) -> None:
    base = first_machine.base
    assert len({agent.pid for agent in first_machine.agents}) == 1
    assert len(list((base / "env").glob("*/.complete"))) == 1
    assert [path.name for path in (base / "code").glob("*/")] == [first_machine.payload.key]
    assert os.readlink(base / "current") == f"code/{first_machine.payload.key}"
    assert first_machine.steps.count("starting the agent") == 1
    assert "waiting for another installation on this machine" in first_machine.steps
    assert "installing the agent's packages (25 packages)" in first_machine.steps


def test_nobody_else_can_look_into_what_is_installed(first_machine: FirstMachine) -> None:
    for path in (first_machine.base, first_machine.root, first_machine.base / "code"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((first_machine.root / "agent.token").stat().st_mode) == 0o600


async def test_a_machine_that_has_everything_is_left_as_it_is(first_machine: FirstMachine) -> None:
    puts, steps = len(first_machine.shell.puts), len(first_machine.steps)
    agent = await first_machine.ensure_agent()
    assert agent == first_machine.agents[0]
    assert (len(first_machine.shell.puts), len(first_machine.steps)) == (puts, steps)


async def test_the_agent_answers_and_runs_the_code_that_was_sent(
    first_machine: FirstMachine,
) -> None:
    (agent, *_) = first_machine.agents
    assert agent.code == str(first_machine.base / "code" / first_machine.payload.key)
    assert agent.python.startswith(str(first_machine.base / "env"))
    async with client(agent) as connection:
        health = await connection.health()
    assert (health.pid, health.root) == (agent.pid, str(first_machine.root))


def test_every_module_of_the_agent_imports_in_its_environment(first_machine: FirstMachine) -> None:
    (agent, *_) = first_machine.agents
    names = [
        name.removesuffix(".py").replace("/", ".")
        for name in first_machine.payload.files
        if name.endswith(".py") and name.startswith("agent/")
        if not name.startswith("agent/trainer/")
    ]
    code = f"import {', '.join(name.removesuffix('.__init__') for name in names)}"
    done = subprocess.run(
        [agent.python, "-P", "-c", code],
        env={"PYTHONPATH": agent.code},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


async def test_the_relay_command_leads_to_the_agent(first_machine: FirstMachine) -> None:
    (agent, *_) = first_machine.agents
    request = "GET /health HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"
    process = await asyncio.create_subprocess_shell(
        agent.relay_command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=first_machine.shell.environment(),
    )
    answer, _ = await asyncio.wait_for(process.communicate(request.encode()), 20)
    assert answer.startswith(b"HTTP/1.1 401")


async def test_an_agent_that_was_killed_is_started_again_with_its_token(machine: Machine) -> None:
    before = await machine.ensure_agent()
    killed = machine.agent()
    assert killed is not None and send_signal(killed, signal.SIGKILL)
    async with asyncio.timeout(10):
        while is_alive(killed):
            await asyncio.sleep(0.02)

    after = await machine.ensure_agent()

    assert after.pid != before.pid
    assert after.token == before.token
    async with client(after) as connection:
        assert (await connection.health()).pid == after.pid


async def test_an_idle_agent_of_another_version_is_replaced(
    machine: Machine, payload: Payload
) -> None:
    old = await machine.ensure_agent(other_version(payload, protocol=0))
    new = await machine.ensure_agent()

    assert new.is_current
    assert (new.pid != old.pid, new.protocol) == (True, PROTOCOL_VERSION)
    assert "stopping the agent of another version" in machine.steps
    assert os.readlink(machine.base / "current") == f"code/{payload.key}"


async def start_job(machine: Machine, agent: RunningAgent) -> JobSpec:
    """A job that runs until it is told to stop."""
    command = [agent.python, str(STAND_IN)]
    (machine.root / "trainer.json").write_text(json.dumps({"command": command}))
    path = machine.shell.home / "dataset.jsonl"
    path.write_text('{"conversation": "one"}\n')
    reference = DatasetReference.of(path)
    store_dataset(path, machine.root / "datasets", reference)
    spec = JobSpec(job_id="job-one", name="one", dataset=reference, notes="steps=10000 delay=0.05")
    async with client(agent) as connection:
        await connection.start(spec)
        async with asyncio.timeout(20):
            while (await connection.job("job-one")).state.status != "training":
                await asyncio.sleep(0.05)
    return spec


async def test_an_agent_of_another_version_at_work_is_used_as_it_is(
    machine: Machine, payload: Payload
) -> None:
    old = await machine.ensure_agent(other_version(payload))
    await start_job(machine, old)
    machine.steps.clear()

    found = await machine.ensure_agent()

    assert (found.pid, found.is_current) == (old.pid, False)
    assert "starting the agent" not in machine.steps
    async with client(found) as connection:
        await connection.cancel("job-one", "the end")
        async with asyncio.timeout(20):
            while (await connection.health()).running:
                await asyncio.sleep(0.05)
    # Once it is idle, the next look replaces it.
    assert (await machine.ensure_agent()).is_current


async def test_an_agent_at_work_that_we_cannot_speak_with_is_named_and_left_in_peace(
    machine: Machine, payload: Payload
) -> None:
    old = await machine.ensure_agent(other_version(payload))
    await start_job(machine, old)
    # What it says of itself is all that is known of its protocol.
    address = json.loads((machine.root / "agent.json").read_text())
    (machine.root / "agent.json").write_text(json.dumps({**address, "protocol": 0}))

    with pytest.raises(AgentOutdated) as caught:
        await machine.ensure_agent()

    assert (caught.value.protocol, caught.value.job_ids) == (0, ("job-one",))
    assert "job-one" in str(caught.value) and "goes on" in str(caught.value)
    agent = machine.agent()
    assert agent is not None and is_alive(agent)


async def test_another_system_than_linux_is_refused_by_its_name(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "uname").write_text("#!/bin/sh\necho Darwin\n")
    (programs / "uname").chmod(0o755)
    shell = LocalShell(tmp_path, path=f"{programs}:/usr/bin:/bin")
    with pytest.raises(InvalidInput, match="the machine runs Darwin; the agent needs Linux"):
        await Machine(shell, build_payload()).ensure_agent()
    assert shell.puts == []


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """A machine whose index holds a training stack of next to nothing."""
    pins = write_stack(tmp_path / "wheels", MODULES)
    shell = LocalShell(tmp_path / "home")
    shell.home.mkdir()
    use_index(shell.home, tmp_path / "wheels")
    return Machine(shell, build_payload(trainer_pins=pins))


def trainer_file(machine: Machine) -> dict[str, object]:
    content: dict[str, object] = json.loads((machine.root / "trainer.json").read_text())
    return content


async def test_the_training_stack_is_made_once(bare: Machine) -> None:
    await bare.bootstrap().ensure_trainer(bare.steps.append)

    assert "installing the training stack (6 packages)" in bare.steps
    assert trainer_file(bare)["key"] in os.listdir(bare.base / "trainer-env")
    bare.steps.clear()
    await bare.bootstrap().ensure_trainer(bare.steps.append)
    assert bare.steps == []


async def test_a_trainer_of_the_users_own_is_left_alone(bare: Machine) -> None:
    bare.root.mkdir(parents=True)
    (bare.root / "trainer.json").write_text('{"command": ["/opt/mine"]}')
    await bare.bootstrap().ensure_trainer(bare.steps.append)
    assert bare.steps == []
    assert trainer_file(bare) == {"command": ["/opt/mine"]}


async def test_an_installation_that_was_killed_is_completed_by_the_next(bare: Machine) -> None:
    reached = asyncio.Event()

    def on_step(text: str) -> None:
        if text.startswith("installing"):
            reached.set()

    dying = Dying(bare.shell.home, bare.shell.path)
    first = asyncio.create_task(
        Machine(dying, bare.payload).bootstrap().ensure_trainer(on_step), name="first"
    )
    async with asyncio.timeout(60):
        await reached.wait()
    dying.kill()
    with pytest.raises(InstallationFailed, match="ended from outside"):
        await first
    assert not list((bare.base / "trainer-env").glob("*/.complete"))
    assert not (bare.root / "trainer.json").exists()

    await bare.bootstrap().ensure_trainer(bare.steps.append)

    assert len(list((bare.base / "trainer-env").glob("*/.complete"))) == 1
    assert trainer_file(bare)["key"]


async def test_a_console_that_goes_away_leaves_an_installation_that_is_finished(
    bare: Machine,
) -> None:
    """As through SSH: the connection ends, and what runs there is told nothing of it."""
    shell = Leaving(bare.shell.home, bare.shell.path)
    with pytest.raises(ConnectionError):
        await Machine(shell, bare.payload).bootstrap().ensure_trainer(bare.steps.append)
    async with asyncio.timeout(60):
        while not (bare.root / "trainer.json").exists():
            await asyncio.sleep(0.05)
    assert len(list((bare.base / "trainer-env").glob("*/.complete"))) == 1


async def test_an_index_out_of_reach_is_an_error_here_with_what_helps(bare: Machine) -> None:
    use_no_index(bare.shell.home)
    with pytest.raises(InstallationFailed, match=r"cannot be reached from there; .*pip\.conf"):
        await bare.bootstrap().ensure_trainer(bare.steps.append)


class Dying(LocalShell):
    """Everything that the script started can be killed."""

    async def _start(self, script: str, *, stderr: int) -> asyncio.subprocess.Process:
        self.process = await super()._start(script, stderr=stderr)
        return self.process

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)


class Leaving(LocalShell):
    """The connection is lost once the installation is at work."""

    async def lines(self, script: str, *, timeout_s: float = 1800.0):  # type: ignore[no-untyped-def]
        async with aclosing(super().lines(script, timeout_s=timeout_s)) as lines:
            async for line in lines:
                yield line
                if "installing" in line:
                    raise ConnectionError("cut")
