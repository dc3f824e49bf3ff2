"""The parent of replicas, with small programs in place of trainers."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from agent.process import ProcessIdentity, identify, is_alive
from agent.run_directory import AttemptDirectory, Nodes
from agent.trainer import __main__ as trainer_process
from agent.trainer.parallel import launch_replicas
from shared.lifecycle import StopReason
from tests.agent.trainer.conftest import MakeAttempt
from tests.agent.trainer.parallel.forking import FORKING
from tests.agent.trainer.running import finish_of, read_events, wait_until

PRELUDE = """
import os, pathlib, signal, sys, time
rank, directory = int(os.environ["LOCAL_RANK"]), pathlib.Path(sys.argv[-1])
def say(reason, detail=""):
    import datetime, json
    name = f"replica-{rank}.jsonl" if rank else "trainer.jsonl"
    event = {"kind": "trainer_finished", "stop_reason": reason, "detail": detail}
    time_ = datetime.datetime.now(datetime.UTC).isoformat()
    with open(directory / name, "a") as file:
        print(json.dumps({"time": time_, "event": event}), file=file, flush=True)
def obey(number, frame):
    say("trainer_killed", "SIGTERM")
    sys.exit(75)
"""


def launching(attempt: AttemptDirectory, program: str) -> BaseProcess:
    """The parent, in a process of its own."""
    meeting_timeout_s = launch_replicas.MEETING_TIMEOUT_S
    process = FORKING.Process(target=parent, args=(attempt.path, program, meeting_timeout_s))
    process.start()
    return process


def parent(path: Path, program: str, meeting_timeout_s: int) -> None:
    """What runs in it."""
    launch_replicas.MEETING_TIMEOUT_S = meeting_timeout_s
    attempt = AttemptDirectory(path)
    command = (sys.executable, "-c", PRELUDE + program)
    os._exit(launch_replicas.launch(attempt, attempt.read_spec(), command))


def launch(attempt: AttemptDirectory, program: str) -> int | None:
    process = launching(attempt, program)
    process.join(60)
    process.kill()
    return process.exitcode


def test_replicas_that_end_well_make_one_that_ended_well(make_attempt: MakeAttempt) -> None:
    attempt = make_attempt(num_gpus=2)
    program = "(directory / os.environ['RANK']).write_text(os.environ['WORLD_SIZE'])"
    assert launch(attempt, program) == 0
    assert [(attempt.path / rank).read_text() for rank in ("0", "1")] == ["2", "2"]


def test_a_killed_replica_ends_its_parent_by_the_same_signal(make_attempt: MakeAttempt) -> None:
    program = """
if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
"""
    assert launch(make_attempt(num_gpus=2), program) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("end", "code", "reason", "detail"),
    [
        ("say('out_of_memory', '2 GiB'); sys.exit(3)", 3, "out_of_memory", "replica 1: 2 GiB"),
        ("sys.exit('x')", 1, "trainer_crashed", "replica 1 ended with exit code 1; its traceback"),
    ],
)
def test_why_another_replica_stopped_is_reported_whatever_the_first_says(
    make_attempt: MakeAttempt, end: str, code: int, reason: str, detail: str
) -> None:
    attempt = make_attempt(num_gpus=2)
    program = f"""
if rank == 0:
    signal.signal(signal.SIGTERM, obey)
    (directory / "ready").touch()
    time.sleep(60)
while not (directory / "ready").exists():
    time.sleep(0.01)
{end}
"""
    assert launch(attempt, program) == code
    assert finish_of(attempt).stop_reason == reason
    assert finish_of(attempt).detail.startswith(detail)


def test_the_first_replicas_own_reason_stands(make_attempt: MakeAttempt) -> None:
    attempt = make_attempt(num_gpus=2)
    program = "say('invalid_dataset', f'by {rank}'); sys.exit(3)"
    assert launch(attempt, program) == 3
    assert finish_of(attempt).stop_reason is StopReason.INVALID_DATASET


def test_replicas_that_only_lost_those_of_another_machine_are_interrupted(
    make_attempt: MakeAttempt,
) -> None:
    attempt = make_attempt(num_gpus=2)
    assert launch(attempt, "sys.exit(75)") == 75
    assert finish_of(attempt).stop_reason is StopReason.TRAINER_LOST


def test_signals_reach_the_replicas_that_listen_and_sigterm_ends_them_in_their_own_way(
    make_attempt: MakeAttempt,
) -> None:
    attempt = make_attempt(num_gpus=2)
    program = """
def note(number, frame):
    (directory / f"asked-{rank}").touch()
signal.signal(signal.SIGTERM, obey)
if rank == 0:
    signal.signal(signal.SIGUSR1, note)
(directory / f"ready-{rank}").touch()
time.sleep(60)
"""
    process = launching(attempt, program)
    try:
        wait_until(lambda: all((attempt.path / f"ready-{rank}").exists() for rank in range(2)))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGUSR1)
        wait_until((attempt.path / "asked-0").exists)
        # The second did not listen, and lives: the default would have killed it.
        os.kill(process.pid, signal.SIGTERM)
        process.join(30)
        assert process.exitcode == 75
    finally:
        process.kill()
    assert [finish_of(attempt).stop_reason] == [StopReason.TRAINER_KILLED]
    assert "trainer_killed" in attempt.replica_events_path(1).read_text()


def test_replicas_do_not_outlive_their_parent(make_attempt: MakeAttempt) -> None:
    attempt = make_attempt(num_gpus=2)
    program = """
from agent.trainer.parallel.replica_process import prepare
prepare()
(directory / f"ready-{rank}").write_text(str(os.getpid()))
time.sleep(60)
"""
    process = launching(attempt, program)
    ready = [attempt.path / f"ready-{rank}" for rank in range(2)]
    wait_until(lambda: all(path.exists() and path.read_text() for path in ready))
    replicas = [identify(int(path.read_text())) for path in ready]
    process.kill()
    for replica in replicas:
        assert replica is not None
        wait_until(partial(has_ended, replica), timeout_s=10)


def has_ended(replica: ProcessIdentity) -> bool:
    return not is_alive(replica)


def test_more_replicas_than_gpus_are_refused(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt(num_gpus=4)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert trainer_process.main([str(attempt.path)]) == 3
    (finished,) = read_events(attempt)
    assert finished == finish_of(attempt)
    assert finish_of(attempt).stop_reason is StopReason.INVALID_JOB_SPEC
    assert finish_of(attempt).detail.startswith("num_gpus = 4: the trainer sees 2 here")


def test_machines_that_do_not_meet_are_an_interruption(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(launch_replicas, "MEETING_TIMEOUT_S", 1)
    attempt = make_attempt()
    nodes = Nodes(count=2, rank=1, rdzv_endpoint="127.0.0.1:9")
    spec = attempt.read_spec().model_copy(update={"nodes": nodes})
    attempt.spec_path.write_text(spec.model_dump_json(), encoding="utf-8")
    assert launch(attempt, "") == 75
    assert finish_of(attempt).detail.startswith("the machines did not meet: ")
