"""Secrets, wrong clocks and the real trainer on rented machines."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sysconfig
from datetime import timedelta
from pathlib import Path

import pytest

import agent
from shared.events import AdapterVerified, Resumed
from shared.hyperparameters import Hyperparameters
from shared.lifecycle import JobStatus
from tests.end_to_end import controller_process
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    until_final,
    until_step,
    use_stand_in_trainer,
)
from tests.end_to_end.rented_job import completed, files_on, pod_of
from tests.fakes.shifted_clock import COMPILER, shifted_clock
from tests.remote.remote_box import needs_a_box

pytestmark = [needs_a_box, pytest.mark.slow]


async def test_secrets_reach_the_memory_of_a_machine_and_nothing_else(
    user: Rented, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "hf_canary" + "7" * 25
    monkeypatch.setenv("HF_TOKEN", canary)
    request = user.request()
    account = str(user.fake.api_key)
    async with user.controlled() as (session, _):
        await user.start(session, "secret", "steps=1000 delay=0.1", request)
        await until_step(session, "secret", 2)
        pod = pod_of(user, "secret")
        first, *_ = pids = user.fake.pod_pids(pod.id)
        memory = Path(f"/proc/{first}/root/dev/shm/brightrun/{pod.name}")
        assert (memory / "hf-token").read_text() == canary
        assert [(memory / name).stat().st_mode & 0o077 for name in ("hf-token", "pod.json")] == [
            0,
            0,
        ]
        trainers = 0
        for pid in pids:
            line, environment = (_read(Path(f"/proc/{pid}/{n}")) for n in ("cmdline", "environ"))
            assert not any(secret in line for secret in (canary, account, pod.api_key))
            assert not any(secret in environment for secret in (canary, account))
            if "stand_in_trainer.py\0" in line and "agent.shim" not in line:
                trainers += 1
                assert pod.api_key not in environment
                assert f"HF_HOME={user.fake.mount_path}/brightrun/jobs/secret/hub\0" in environment
                assert "HF_TOKEN_PATH=/dev/shm/brightrun/" in environment
        assert trainers == 1
        job = await called_off(session, "secret")
        assert job.status is JobStatus.CANCELLED
        await check_invariants(user, session, "secret")
    assert canary not in repr(user.fake.requests)
    assert canary not in "\n".join(line.line for line in pod.log)
    volume = user.fake.volume_directory(request.network_volume_id or "")
    for secret in (canary, account, pod.api_key):
        search = ["grep", "-rlaF", secret, str(volume), str(user.config.home)]
        assert subprocess.run(search, capture_output=True, text=True).stdout == ""


def _read(path: Path) -> str:
    """Of a process, which may be gone."""
    with contextlib.suppress(OSError):
        return path.read_bytes().decode(errors="replace")
    return ""


@pytest.mark.skipif(COMPILER is None, reason="no C compiler for a clock that is wrong")
async def test_wrong_and_jumping_clocks_change_nothing(user: Rented) -> None:
    there = shifted_clock(user.template.parent / "clock-there", 600)
    here = shifted_clock(user.template.parent / "clock-here", -600)
    request = user.request()
    volume_id = request.network_volume_id or ""
    root = files_on(user, volume_id, "clocks")
    use_stand_in_trainer(user, user.fake.volume_directory(volume_id), "clocks")
    shift = "env " + shlex.join(f"{name}={value}" for name, value in there.environment.items())
    command = (root / "trainer.json").read_text()
    (root / "trainer.json").write_text(command.replace("exec $(ls", f"exec {shift} $(ls"))
    user.fake.next_machine(environment=there.environment)
    async with user.session() as session:
        await user.start(session, "clocks", "steps=40 delay=0.2", request)
        environment = os.environ | here.environment
        controller = subprocess.Popen(controller_process.start(), env=environment)
        try:
            for step, shift_s in ((3, -600), (8, 0), (16, 600)):
                await until_step(session, "clocks", step)
                there.jump_to(shift_s)
                here.jump_to(-shift_s)
            await completed(session, "clocks", 40, 1)
        finally:
            controller.kill()
            controller.wait()

        times = [record.time for record in await session.store.events("clocks")]
        assert max(times) - min(times) > timedelta(minutes=18), "the clock there was right"
        assert json.loads((root / "jobs/clocks/limits.json").read_text())["elapsed_s"] < 120
        assert len(await session.store.rentals.machines("clocks")) == 1
        await check_invariants(user, session, "clocks")


@pytest.mark.timeout(420)
async def test_the_real_trainer_resumes_on_another_machine(user: Rented) -> None:
    request = user.request()
    _use_real_trainer(user, request.network_volume_id or "")
    values = {"batch_size": 1, "gradient_accumulation_steps": 1, "num_epochs": 16}
    hyperparameters = Hyperparameters.model_validate(values)
    async with user.controlled() as (session, _):
        more = {"hyperparameters": hyperparameters, "checkpoint_interval_steps": 2}
        await user.start(session, "real", "", request, base_model="tiny", **more)
        await until_step(session, "real", 5, timeout_s=180)
        user.fake.lose_pod(pod_of(user, "real").id, "exited")

        job = await until_final(session, "real", timeout_s=200)

        assert (job.status, job.state.attempt) == (JobStatus.COMPLETED, 2), job.state
        events = [record.event for record in await session.store.events("real")]
        assert [event.step >= 4 for event in events if isinstance(event, Resumed)] == [True]
        assert any(isinstance(event, AdapterVerified) for event in events)
        assert (user.config.home / "adapters" / "real" / "adapter").is_dir()
        await check_invariants(user, session, "real")


def _use_real_trainer(user: Rented, volume_id: str) -> None:
    """With the packages of the tests' own environment, which the machines' user can read."""
    packages = sysconfig.get_paths()["purelib"]
    code = Path(agent.__file__).parents[1]
    find = (
        f"PYTHONPATH={code}:{packages} "
        f'exec $(ls {user.fake.mount_path}/brightrun/env/*/bin/python) -P -m agent.trainer "$1"'
    )
    told = {"command": ["/bin/sh", "-c", find, "sh"]}
    root = files_on(user, volume_id, "real")
    root.mkdir(parents=True, exist_ok=True)
    (root / "trainer.json").write_text(json.dumps(told))
