"""A trainer that is killed goes on as if nothing had happened, bit for bit, in NF4."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agent.run_directory import AttemptDirectory, checkpoint_step
from shared import events
from shared.lifecycle import StopReason
from tests.agent.trainer.conftest import MakeAttempt
from tests.agent.trainer.running import (
    finish_of,
    metrics_by_step,
    next_attempt,
    read_events,
    run_trainer,
    start_trainer,
    wait_until,
)

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


@pytest.mark.slow
@pytest.mark.parametrize("optim", ["adamw_torch", "paged_adamw_8bit"])
def test_a_killed_run_resumes_with_the_same_bits(make_attempt: MakeAttempt, optim: str) -> None:
    uninterrupted = make_attempt("whole", optim=optim)
    assert run_trainer(uninterrupted) == 0
    first = make_attempt("killed", optim=optim)
    kill_after_step(first, step=3)
    second = next_attempt(first)
    assert run_trainer(second) == 0

    resumed = next(item for item in read_events(second) if isinstance(item, events.Resumed))
    assert 2 <= resumed.step <= 4
    assert min(metrics_by_step(second)) == resumed.step + 1
    assert numbers_by_step(first, second) == numbers_by_step(uninterrupted)
    expected, found = final_parameters(uninterrupted), final_parameters(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        ours = (second.adapter_path / name).read_bytes()
        assert ours == (uninterrupted.adapter_path / name).read_bytes()


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_set_aside_and_the_previous_one_used(
    make_attempt: MakeAttempt,
) -> None:
    uninterrupted = make_attempt("whole")
    assert run_trainer(uninterrupted) == 0
    first = make_attempt("killed")
    kill_after_step(first, step=4)
    newest = newest_checkpoint(first)
    flip_a_bit(newest / "optimizer.safetensors")
    second = next_attempt(first)
    assert run_trainer(second) == 0

    refused = [item for item in read_events(second) if isinstance(item, events.CheckpointRefused)]
    assert [Path(item.path).name for item in refused] == [newest.name]
    assert "sha256" in refused[0].reason
    assert not newest.exists()
    assert numbers_by_step(first, second) == numbers_by_step(uninterrupted)


@pytest.mark.slow
def test_sigterm_finishes_the_step_commits_a_checkpoint_and_has_its_own_exit_code(
    make_attempt: MakeAttempt,
) -> None:
    attempt = make_attempt(checkpoint_interval_steps=1000)
    process = start_trainer(attempt)
    wait_until(lambda: 2 in metrics_by_step(attempt) or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    assert finish_of(attempt).stop_reason is StopReason.TRAINER_KILLED
    last_step = max(metrics_by_step(attempt))
    committed = [e for e in read_events(attempt) if isinstance(e, events.CheckpointCommitted)]
    assert [item.step for item in committed] == [last_step]


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


def flip_a_bit(path: Path) -> None:
    """What a bad disk does."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
