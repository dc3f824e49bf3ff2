"""How a trainer stops when it cannot go on: the reason it gives, and what it leaves behind."""

from __future__ import annotations

import json
import math
import resource
from pathlib import Path

import pytest
import torch

from agent.run_directory import AttemptDirectory, checkpoint_name
from agent.trainer import __main__ as trainer_process
from agent.trainer.checkpointing.checkpoint_disk import CheckpointDisk
from agent.trainer.checkpointing.snapshot import Snapshot
from shared import events, manifest
from shared.lifecycle import StopReason
from tests.agent.trainer.conftest import MakeAttempt
from tests.agent.trainer.in_process import spoil_steps, train_here
from tests.agent.trainer.running import finish_of, metrics_by_step, read_events

pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(autouse=True)
def signals_stay_as_they_are() -> object:
    """The trainer takes over two signals; here it runs inside the test's process."""
    import signal

    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def warnings_of(attempt: AttemptDirectory) -> list[str]:
    return [e.message for e in read_events(attempt) if isinstance(e, events.LogLine)]


def parameters_of(attempt: AttemptDirectory, step: int) -> bytes:
    """The adapter as the checkpoint of this step has it."""
    folder = attempt.checkpoints_path / checkpoint_name(step)
    return (folder / "parameters.safetensors").read_bytes()


def committed_steps(attempt: AttemptDirectory) -> list[int]:
    return [e.step for e in read_events(attempt) if isinstance(e, events.CheckpointCommitted)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_shown_not_applied_and_end_the_run_at_the_limit(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    attempt = make_attempt(max_non_finite_steps=2)
    spoil_steps(monkeypatch, lambda loss: loss * value, first=3)
    assert train_here(attempt, monkeypatch) == 3
    finish = finish_of(attempt)
    assert finish.stop_reason is StopReason.NON_FINITE
    assert finish.detail == (
        f"loss is {value} at step 4, the 2. in a row; the step was not applied"
    )
    for step in (3, 4):
        metrics = metrics_by_step(attempt)[step]
        assert metrics.loss is None
        assert "loss" in metrics.non_finite
    assert parameters_of(attempt, 3) == parameters_of(attempt, 2) != parameters_of(attempt, 1)


def test_a_single_step_that_is_not_finite_is_passed_over(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt(checkpoints_kept=9)
    spoil_steps(monkeypatch, lambda loss: loss * math.nan, first=2, last=2)
    assert train_here(attempt, monkeypatch) is None
    metrics = metrics_by_step(attempt)
    assert [metrics[step].loss is None for step in (1, 2, 3)] == [False, True, False]
    assert "step 2 is not applied: loss is nan (1 of at most 3 in a row)" in warnings_of(attempt)
    assert parameters_of(attempt, 2) == parameters_of(attempt, 1) != parameters_of(attempt, 3)


def test_where_nothing_is_held_out_no_held_out_loss_is_told(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt(hyperparameters={"eval_fraction": 0.0})
    assert train_here(attempt, monkeypatch) is None
    told = read_events(attempt)
    assert metrics_by_step(attempt)
    assert [event for event in told if isinstance(event, events.Evaluation)] == []


def test_a_gradient_that_is_not_finite_stops_the_run_too(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt(max_non_finite_steps=1)

    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, loss: torch.Tensor) -> torch.Tensor:
            return loss.clone()

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * math.nan

    spoil_steps(monkeypatch, Poison.apply, first=2)
    assert train_here(attempt, monkeypatch) == 3
    assert finish_of(attempt).detail.startswith("grad_norm is nan at step 2")
    assert metrics_by_step(attempt)[2].non_finite == ("grad_norm",)
    assert metrics_by_step(attempt)[2].loss is not None


def test_a_file_that_changed_after_the_check_is_not_trained(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt()
    path = attempt.read_spec().dataset_path
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert train_here(attempt, monkeypatch) == 3
    assert finish_of(attempt).stop_reason is StopReason.DATASET_CHANGED


def test_a_base_model_that_is_not_there_is_named(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt(base_model="/nowhere/llama")
    assert train_here(attempt, monkeypatch) == 3
    assert finish_of(attempt).stop_reason is StopReason.INVALID_BASE_MODEL
    assert finish_of(attempt).detail.startswith("/nowhere/llama: ")


def test_a_dry_run_takes_one_step_on_ten_examples_and_leaves_no_adapter(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt(dry_run=True, hyperparameters={"eval_fraction": 0})
    assert train_here(attempt, monkeypatch) == 0
    assert finish_of(attempt).stop_reason is StopReason.DRY_RUN_PASSED
    assert list(metrics_by_step(attempt)) == [1]
    assert not attempt.adapter_path.exists()
    assert committed_steps(attempt) == []


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt()
    honest = CheckpointDisk.commit
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    def commit_to_a_full_disk(self: CheckpointDisk, snapshot: Snapshot) -> None:
        # A real limit of the kernel: writes past 100 kB fail, as on a full disk.
        if snapshot.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, unlimited[1]))
        try:
            honest(self, snapshot)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

    monkeypatch.setattr(CheckpointDisk, "commit", commit_to_a_full_disk)
    assert train_here(attempt, monkeypatch) is None
    last = max(metrics_by_step(attempt))
    assert committed_steps(attempt) == [step for step in range(1, last + 1) if step != 3]
    complaints = [e for e in read_events(attempt) if isinstance(e, events.LogLine)]
    assert any("step 3 not saved, the disk is full" in item.message for item in complaints)
    assert not list(attempt.checkpoints_path.glob("*.partial"))


def test_the_adapter_is_complete_and_its_manifest_holds(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt()
    assert train_here(attempt, monkeypatch) is None
    facts = manifest.verify(attempt.adapter_path)
    assert {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
    } <= set(facts["files"])
    job = attempt.read_spec().job
    assert facts["dataset"]["sha256"] == job.dataset.sha256
    assert facts["base_model"] == "tiny"
    assert facts["hyperparameters"] == job.hyperparameters.model_dump(mode="json")
    assert facts["seed"] == job.hyperparameters.seed
    assert facts["versions"]["torch"]
    assert facts["eval_loss"] < facts["base_eval_loss"]
    config = json.loads((attempt.adapter_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert set(config["target_modules"]) == set(job.hyperparameters.target_modules)
    for path in attempt.adapter_path.iterdir():
        assert str(Path.home()) not in path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("damage", ["bit flip", "zero weights"])
def test_an_adapter_that_is_damaged_or_does_nothing_is_rejected(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    from safetensors.torch import load_file, save_file

    attempt = make_attempt(hyperparameters={"eval_fraction": 0})
    assert train_here(attempt, monkeypatch) is None
    weights = attempt.adapter_path / "adapter_model.safetensors"
    if damage == "bit flip":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    else:
        tensors = {name: torch.zeros_like(tensor) for name, tensor in load_file(weights).items()}

        def rewrite(partial: Path) -> dict[str, object]:
            for path in attempt.adapter_path.iterdir():
                if path.name != manifest.MANIFEST_NAME:
                    (partial / path.name).write_bytes(path.read_bytes())
            save_file(tensors, partial / weights.name, metadata={"format": "pt"})
            return {}

        manifest.commit(attempt.adapter_path, rewrite)
    assert trainer_process.main([str(attempt.path), "--verify"]) == 3
    assert finish_of(attempt).stop_reason is StopReason.ADAPTER_REJECTED
