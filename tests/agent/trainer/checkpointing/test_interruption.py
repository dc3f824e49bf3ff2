"""A trainer that is killed goes on as if nothing had happened, bit for bit, in NF4."""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agent.run_directory import AttemptDirectory, checkpoint_step
from shared import events, manifest
from shared.lifecycle import StopReason
from tests.agent.trainer import long_step_trainer
from tests.agent.trainer.conftest import MakeAttempt, attempts_in
from tests.agent.trainer.running import (
    finish_of,
    metrics_by_step,
    next_attempt,
    read_events,
    run_trainer,
    start_trainer,
    wait_until,
)

LONG_STEP_TRAINER = Path(long_step_trainer.__file__)

NUMBERS = ("step", "epoch", "loss", "grad_norm", "learning_rate", "tokens", "supervised_tokens")


def numbers_by_step(*attempts: AttemptDirectory) -> dict[int, list[float | None]]:
    """Everything in the metrics that is not a time or a memory size."""
    return {
        step: [getattr(metrics, name) for name in NUMBERS]
        for step, metrics in metrics_by_step(*attempts).items()
    }


def final_parameters(attempt: AttemptDirectory) -> dict[str, torch.Tensor]:
    """The adapter in fp32, as the last checkpoint holds it."""
    return load_file(newest_checkpoint(attempt) / "parameters.safetensors")


def newest_checkpoint(attempt: AttemptDirectory) -> Path:
    """The committed one with the highest step; the kill may have left a partial one beside it."""
    found = [p for p in attempt.checkpoints_path.iterdir() if checkpoint_step(p.name) is not None]
    return max(found)


def kill_after_step(attempt: AttemptDirectory, step: int) -> None:
    """SIGKILL as soon as the step has been reported."""
    process = start_trainer(attempt)
    wait_until(lambda: step in metrics_by_step(attempt) or process.poll() is not None)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@dataclass(frozen=True)
class Runs:
    """The same job twice: as it runs undisturbed, and killed behind its fourth step."""

    uninterrupted: AttemptDirectory
    killed: AttemptDirectory


@pytest.fixture(scope="module", params=["adamw_torch", "paged_adamw_8bit"])
def runs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    models_directory: Path,
    short_dataset: Path,
) -> Runs:
    make = attempts_in(tmp_path_factory.mktemp("runs"), models_directory, short_dataset)
    uninterrupted = make("whole", optim=request.param)
    assert run_trainer(uninterrupted) == 0
    killed = make("killed", optim=request.param)
    kill_after_step(killed, step=4)
    return Runs(uninterrupted, killed)


def resume(killed: AttemptDirectory) -> AttemptDirectory:
    """Run the job's second attempt to its end."""
    second = next_attempt(killed)
    assert run_trainer(second) == 0
    return second


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_bits(runs: Runs, tmp_path: Path) -> None:
    first = copy_of(runs.killed, tmp_path)
    second = resume(first)
    resumed = next(item for item in read_events(second) if isinstance(item, events.Resumed))
    assert 3 <= resumed.step <= 5
    assert min(metrics_by_step(second)) == resumed.step + 1
    assert numbers_by_step(first, second) == numbers_by_step(runs.uninterrupted)
    expected, found = final_parameters(runs.uninterrupted), final_parameters(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        ours = (second.adapter_path / name).read_bytes()
        assert ours == (runs.uninterrupted.adapter_path / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("runs", ["adamw_torch"], indirect=True)
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_previous_one_used(
    runs: Runs, tmp_path: Path
) -> None:
    first = copy_of(runs.killed, tmp_path)
    newest = newest_checkpoint(first)
    flip_a_bit(newest / "optimizer.safetensors")
    second = resume(first)
    refused = [item for item in read_events(second) if isinstance(item, events.CheckpointRefused)]
    assert [Path(item.path).name for item in refused] == [newest.name]
    assert "sha256" in refused[0].reason
    assert not newest.exists()
    assert numbers_by_step(first, second) == numbers_by_step(runs.uninterrupted)


@pytest.mark.slow
def test_sigterm_in_the_middle_of_a_long_step_saves_the_step_before_within_5_s(
    make_attempt: MakeAttempt,
) -> None:
    attempt = make_attempt(checkpoint_interval_steps=1000)
    process = start_trainer(attempt, [str(LONG_STEP_TRAINER)], arguments=["3"])
    try:
        wait_until(
            lambda: (
                long_step_trainer.MARK in attempt.log_path.read_text() or process.poll() is not None
            )
        )
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 75
    finally:
        process.kill()
        process.wait()
    assert time.monotonic() - began < 5
    assert finish_of(attempt).stop_reason is StopReason.TRAINER_KILLED
    assert finish_of(attempt).detail == "SIGTERM; step 2 is saved"
    assert max(metrics_by_step(attempt)) == 2
    committed = [e for e in read_events(attempt) if isinstance(e, events.CheckpointCommitted)]
    assert [item.step for item in committed] == [2]
    manifest.verify(newest_checkpoint(attempt))


@pytest.mark.slow
def test_a_checkpoint_can_be_asked_for(make_attempt: MakeAttempt) -> None:
    attempt = make_attempt(checkpoint_interval_steps=1000)
    process = start_trainer(attempt)
    wait_until(lambda: 1 in metrics_by_step(attempt) or process.poll() is not None)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=120) == 0
    committed = [e for e in read_events(attempt) if isinstance(e, events.CheckpointCommitted)]
    assert len(committed) == 2
    assert committed[0].step < committed[1].step == max(metrics_by_step(attempt))


def copy_of(attempt: AttemptDirectory, folder: Path) -> AttemptDirectory:
    """The attempt's whole job, elsewhere."""
    job = shutil.copytree(attempt.path.parent.parent, folder / "job")
    return AttemptDirectory(job / attempt.path.relative_to(attempt.path.parent.parent))


def flip_a_bit(path: Path) -> None:
    """What a bad disk does."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
