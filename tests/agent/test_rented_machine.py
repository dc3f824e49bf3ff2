"""A pod as a whole: its start command, the agent that it starts, a trainer, the provider's API."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import agent
from agent.installation.agent_process import write_starter
from agent.process import is_alive
from agent.run_directory import AgentRoot
from shared.job_state import fold
from shared.lifecycle import StopReason
from shared.pod_start import PodStart, render_start_command
from tests.agent.conftest import TRAINER_COMMAND

pytestmark = pytest.mark.slow  # 25 s each where two others work on the machine's two cores

CODE = Path(agent.__file__).parents[1]


@pytest.fixture
def container(request, pod, tmp_path, pod_api):
    """The container of a rented machine; its parameter is how long it may be silent."""
    base = tmp_path / "volume"
    pod.root = AgentRoot(base / "agent")
    image_start = tmp_path / "start.sh"
    image_start.write_text("exec sleep 600\n")
    start = PodStart(
        rental=1,
        base=str(base),
        start_script=str(image_start),
        run_directory=str(tmp_path / "run"),
        silence_limit_s=request.param,
        lifetime_s=600,
        tick_s=0.2,
        pause_s=1,
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RUNPOD_POD_ID": "pod1",
        "RUNPOD_API_KEY": "rpa_canary",
        "RUNPOD_API_BASE_URL": pod_api.url,
    }
    process = subprocess.Popen(
        ["/bin/sh", "-c", "exec bash -c " + shlex.quote(render_start_command(start))],
        env=environment,
        start_new_session=True,
    )
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def install(pod):
    await pod.until((pod.root.path / "machine.json").exists)
    pod.root.trainer_path.write_text(json.dumps({"command": TRAINER_COMMAND}))
    write_starter(pod.root.path, Path(sys.executable), CODE)
    await pod.until(pod.root.address_path.exists, 30)


async def start(pod, notes, limits):
    body = {"job": pod.spec(notes).model_dump(mode="json"), "limits": limits.model_dump()}
    async with pod.client() as client:
        (await client.post("/training/start", json=body)).raise_for_status()


@pytest.mark.parametrize("container", [60], indirect=True)
async def test_with_the_console_gone_the_work_is_done_and_the_machine_ends(
    pod, container, limits, pod_api
):
    await install(pod)
    await start(pod, "steps=250 delay=0.05", limits(idle_end_s=1.0))
    await pod.until_step(3)
    trainer = (await pod.trainer_of(1)).trainer
    before = pod.address().pid
    os.kill(before, signal.SIGKILL)
    # Nobody is there but the start command; it starts an agent, which takes the trainer up.
    await pod.until(lambda: pod.address().pid != before, 30)
    assert is_alive(trainer)
    await pod.until_step(250)
    await pod.until(pod.root.machine_end_path.exists, 30)
    await pod.until(lambda: pod_api.asked[:1] == ["DELETE /v2/pods/pod1"])
    why = json.loads(pod.root.machine_end_path.read_bytes())["why"]
    assert why.startswith("the job has ended (completed)")
    records = await pod.watch("/training/jobs/job-one/events")
    assert fold(records).stop_reason is StopReason.COMPLETED
    for path in pod.root.path.rglob("*"):
        assert path.is_dir() or b"rpa_canary" not in path.read_bytes()


@pytest.mark.parametrize("container", [10], indirect=True)
async def test_an_agent_that_hangs_does_not_keep_the_machine(pod, container, limits, pod_api):
    await install(pod)
    await start(pod, "steps=1000 delay=0.05", limits())
    await pod.until((pod.path / "run" / "heartbeat").exists)
    os.kill(pod.address().pid, signal.SIGSTOP)
    await pod.until(lambda: pod_api.asked[:1] == ["DELETE /v2/pods/pod1"], 40)
    assert not pod.root.machine_end_path.exists()
