from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.launch import read_exit, read_shim, settle, start_trainer, trainer_environment
from agent.process import identify, is_alive, send_signal, send_signal_to_group
from agent.run_directory import AttemptDirectory
from agent.shim import take_lock


@pytest.fixture
def attempt(pod):
    directory = AttemptDirectory(pod.path / "1")
    directory.path.mkdir()
    yield directory
    record = read_shim(directory)
    if record is not None:
        send_signal_to_group(record.trainer, signal.SIGKILL)


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def until_exit(pod, attempt):
    await pod.until(lambda: read_exit(attempt) is not None)
    return read_exit(attempt)


async def test_the_exit_code_and_the_output_are_kept(pod, attempt):
    assert start_trainer(attempt, shell("echo out; echo err >&2; exit 7")) is not None
    exit_record = await until_exit(pod, attempt)
    assert (exit_record.exit_code, exit_record.signal) == (7, None)
    assert attempt.log_path.read_text() == "out\nerr\n"


async def test_the_trainer_gets_its_directory_as_last_argument_and_as_working_directory(
    pod, attempt
):
    start_trainer(attempt, ["/bin/sh", "-c", 'echo "$0"; pwd'])
    await until_exit(pod, attempt)
    assert attempt.log_path.read_text().splitlines() == [str(attempt.path)] * 2


async def test_the_signal_that_ended_the_trainer_is_kept(pod, attempt):
    start_trainer(attempt, shell("kill -9 $$"))
    exit_record = await until_exit(pod, attempt)
    assert (exit_record.exit_code, exit_record.signal) == (None, signal.SIGKILL)


async def test_many_shims_start_one_trainer(pod, attempt):
    script = shell("echo started; sleep 0.5")
    starts = [asyncio.to_thread(start_trainer, attempt, script) for _ in range(4)]
    records = await asyncio.gather(*starts)
    assert len(set(records)) == 1
    await until_exit(pod, attempt)
    start_trainer(attempt, script)
    assert attempt.log_path.read_text() == "started\n"


async def test_a_shim_that_comes_late_to_a_sealed_attempt_starts_nothing(pod, attempt):
    assert settle(attempt, exit_code=None) is None
    assert start_trainer(attempt, shell("echo started")) is None
    assert attempt.log_path.read_text() == ""
    assert read_exit(attempt).exit_code is None


async def test_an_attempt_is_not_sealed_while_a_shim_may_still_start_it(pod, attempt):
    lock = take_lock(attempt.path)
    settling = asyncio.create_task(asyncio.to_thread(settle, attempt, None))
    await asyncio.sleep(0.1)
    assert not settling.done()
    os.close(lock)
    assert await settling is None


async def test_signals_reach_the_trainer_only(pod, attempt):
    record = start_trainer(attempt, shell("sleep 60"))
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        send_signal(record.shim, number)
    # A request to save, or for stacks, before the trainer listens is ignored.
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        send_signal(record.trainer, number)
    assert is_alive(record.shim)
    assert is_alive(record.trainer)
    send_signal(record.trainer, signal.SIGTERM)
    assert (await until_exit(pod, attempt)).signal == signal.SIGTERM


async def test_children_of_the_trainer_end_with_it(pod, attempt):
    start_trainer(attempt, shell("sleep 60 & echo $! > child.pid; exit 0"))
    await until_exit(pod, attempt)
    child = identify(int((attempt.path / "child.pid").read_text()))
    assert child is None or not is_alive(child)


async def test_the_shim_is_small(pod, attempt):
    record = start_trainer(attempt, shell("sleep 60"))
    status = Path(f"/proc/{record.shim_pid}/status").read_text()
    resident_kb = int(next(x for x in status.splitlines() if x.startswith("VmRSS")).split()[1])
    os.killpg(record.trainer_pid, signal.SIGKILL)
    assert resident_kb < 20_000
    await until_exit(pod, attempt)


async def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", ""])
    identity = identify(child.pid)
    deadline = time.monotonic() + 10
    while is_alive(identity) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert identify(child.pid) == identity, "not reaped yet"
    assert not is_alive(identity)
    child.wait()


def test_the_trainer_sees_no_secret_of_the_agent():
    environment = {"PATH": "/bin", "LC_ALL": "C", "HF_TOKEN": "t", "CUDA_VISIBLE_DEVICES": "0"}
    secrets = {
        "TRAINING_WEBHOOK_SECRET": "s",
        "SUPABASE_SERVICE_ROLE_KEY": "k",
        "RUNPOD_API_KEY": "r",
    }
    assert trainer_environment({**environment, **secrets}) == environment


def test_nothing_is_known_of_an_attempt_that_was_not_started(attempt):
    assert read_shim(attempt) is None
    assert read_exit(attempt) is None
