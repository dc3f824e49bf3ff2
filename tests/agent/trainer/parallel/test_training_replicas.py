"""Two gloo replicas on a CPU, in NF4, train what one process trains."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from agent.process import identify, is_alive
from agent.run_directory import AttemptDirectory, checkpoint_name
from agent.trainer import __main__ as trainer_process
from agent.trainer.parallel import checkpoint_exchange
from shared import events
from tests.agent.trainer.checkpointing.test_interruption import copy_of, final_parameters
from tests.agent.trainer.conftest import MakeAttempt, attempts_in
from tests.agent.trainer.parallel.forking import FORKING
from tests.agent.trainer.running import (
    metrics_by_step,
    next_attempt,
    read_events,
    start_trainer,
    wait_until,
)

# Raised inside transformers and peft, about each other.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

JOB = {"batch_size": 2, "lora_dropout": 0.1, "num_epochs": 1}
"""Three steps of four targets."""


def train_forked(*attempts: AttemptDirectory, paths_are_local: bool = False) -> list[int | None]:
    """Exit codes of replicas, one for each directory given, as if torchrun had started them.

    With `paths_are_local` the paths of one directory's machine mean nothing on another's.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank, attempt in enumerate(attempts):
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(attempts[:rank].count(attempt)),
            "WORLD_SIZE": str(len(attempts)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        told = (attempt.path, environment if len(attempts) > 1 else {}, paths_are_local)
        processes.append(FORKING.Process(target=replica, args=told))
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        process.kill()
    return [process.exitcode for process in processes]


def replica(path: Path, environment: dict[str, str], paths_are_local: bool) -> None:
    """What runs in each of the processes."""
    attempt = AttemptDirectory(path)
    sys.stdout = sys.stderr = attempt.log_path.open("a", encoding="utf-8", buffering=1)
    torch.set_num_threads(1)
    os.chdir(path.parent)
    # Where it would become the verifier.
    os.execv = lambda path, command: os._exit(0)  # type: ignore[assignment, misc]
    os.environ.update(environment)
    if paths_are_local:
        is_there = checkpoint_exchange._is_there
        checkpoint_exchange._is_there = lambda path, sha256: (
            is_there(path, sha256) and path.is_relative_to(Path.cwd())
        )
    os._exit(trainer_process.main([str(path)]))


@dataclass(frozen=True)
class Runs:
    """The same job in one process, and in two."""

    alone: AttemptDirectory
    together: AttemptDirectory


@pytest.fixture(scope="module")
def make_here(
    tmp_path_factory: pytest.TempPathFactory, models_directory: Path, short_dataset: Path
) -> MakeAttempt:
    return attempts_in(tmp_path_factory.mktemp("replicas"), models_directory, short_dataset)


@pytest.fixture(scope="module")
def runs(make_here: MakeAttempt) -> Runs:
    alone = make_here("alone", hyperparameters=JOB)
    together = make_here("together", hyperparameters=JOB, num_gpus=2)
    assert train_forked(alone) == [0], alone.log_path.read_text()
    assert train_forked(together, together) == [0, 0], together.log_path.read_text()
    return Runs(alone, together)


def test_replicas_have_the_losses_and_gradients_of_one_process(runs: Runs) -> None:
    alone, together = metrics_by_step(runs.alone), metrics_by_step(runs.together)
    assert list(alone) == list(together) == [1, 2, 3]
    for step, one in alone.items():
        two = together[step]
        assert two.loss == pytest.approx(one.loss, rel=1e-5)
        assert two.grad_norm == pytest.approx(one.grad_norm, rel=1e-5)
        assert (two.tokens, two.supervised_tokens) == (one.tokens, one.supervised_tokens)
    losses = [
        [event.loss for event in read_events(attempt) if isinstance(event, events.Evaluation)]
        for attempt in (runs.alone, runs.together)
    ]
    assert len(losses[0]) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    one, two = final_parameters(runs.alone), final_parameters(runs.together)
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-5) for name in one)


def test_replicas_end_with_the_same_adapter_and_the_first_alone_keeps_it(runs: Runs) -> None:
    log = runs.together.log_path.read_text(encoding="utf-8")
    hashes = dict(re.findall(r"replica (\d) of 2: adapter sha256 (\w{64}) at step 3", log))
    assert hashes.keys() == {"0", "1"}
    assert hashes["0"] == hashes["1"]
    told = read_events(runs.together)
    (facts,) = [event for event in told if isinstance(event, events.RunFacts)]
    assert facts.processes == 2
    saved = [event for event in told if isinstance(event, events.AdapterSaved)]
    assert len(saved) == 1
    others = runs.together.replica_events_path(1).read_text(encoding="utf-8")
    assert "checkpoint_committed" not in others
    assert "replicas_finished" in others


def test_a_machine_without_checkpoints_resumes_from_the_firsts(runs: Runs, tmp_path: Path) -> None:
    near = copy_of(runs.together, tmp_path / "near")
    for step in (2, 3):
        shutil.rmtree(near.checkpoints_path / checkpoint_name(step))
    far = copy_of(runs.together, tmp_path / "far")
    shutil.rmtree(far.checkpoints_path)
    near_2, far_2 = next_attempt(near), next_attempt(far)
    assert train_forked(near_2, far_2, paths_are_local=True) == [0, 0], far_2.log_path.read_text()
    for attempt in (near_2, far_2):
        assert list(metrics_by_step(attempt)) == [2, 3]
        assert {step: m.loss for step, m in metrics_by_step(runs.together, attempt).items()} == {
            step: m.loss for step, m in metrics_by_step(runs.together).items()
        }
    expected, found = final_parameters(runs.together), final_parameters(near_2)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    (resumed,) = [event for event in read_events(far_2) if isinstance(event, events.Resumed)]
    assert resumed.path == str(far_2.checkpoints_path / checkpoint_name(1))


@pytest.mark.slow
def test_a_killed_replica_is_an_interruption_from_which_the_same_adapter_comes(
    make_here: MakeAttempt, runs: Runs
) -> None:
    first = make_here("killed", hyperparameters=JOB, num_gpus=2)
    parent = start_trainer(first)
    wait_until(lambda: len(metrics_by_step(first)) > 0 or parent.poll() is not None, timeout_s=240)
    replicas = children_of(parent.pid)
    identities = [identify(pid) for pid in replicas]
    assert len(replicas) == 2
    os.kill(replicas[1], signal.SIGKILL)
    assert parent.wait(timeout=120) == -signal.SIGKILL, first.log_path.read_text()
    assert all(identity is not None and not is_alive(identity) for identity in identities)

    second = next_attempt(first)
    assert train_forked(second, second) == [0, 0], second.log_path.read_text()
    (resumed,) = [event for event in read_events(second) if isinstance(event, events.Resumed)]
    assert resumed.step >= 1
    assert min(metrics_by_step(second)) == resumed.step + 1
    expected, found = final_parameters(runs.together), final_parameters(second)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def children_of(pid: int) -> list[int]:
    """In the order of their start, which is that of their ranks."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return sorted(int(child) for child in text.split())
