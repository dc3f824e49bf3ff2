"""A run whose held-out loss stops falling ends there, with the adapter of its best step."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from agent.run_directory import AttemptDirectory
from shared import events, manifest
from tests.agent.trainer.conftest import MakeAttempt
from tests.agent.trainer.in_process import train_here
from tests.agent.trainer.running import metrics_by_step, next_attempt, read_events

pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

TOO_FAST = {"num_epochs": 6, "learning_rate": 0.2, "gradient_accumulation_steps": 6}
"""Held-out loss falls for an epoch or two, and then the adapter is thrown about."""


def evaluations(attempt: AttemptDirectory) -> dict[int, float]:
    told = [event for event in read_events(attempt) if isinstance(event, events.Evaluation)]
    return {event.step: event.loss for event in told if event.loss is not None}


def test_the_adapter_of_the_best_step_is_kept(
    make_attempt: MakeAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = make_attempt(hyperparameters=TOO_FAST, early_stopping_patience=1, checkpoints_kept=20)
    assert train_here(attempt, monkeypatch) is None
    held_out = {step: loss for step, loss in evaluations(attempt).items() if step > 0}
    best = min(held_out, key=lambda step: held_out[step])
    last = max(metrics_by_step(attempt))
    facts = next(item for item in read_events(attempt) if isinstance(item, events.RunFacts))
    assert best < last < facts.total_steps
    found = manifest.verify(attempt.adapter_path)
    assert found["eval_loss"] == held_out[best]
    published = load_file(attempt.adapter_path / "adapter_model.safetensors")
    kept = load_file(attempt.checkpoints_path / f"step-{best:08d}" / "parameters.safetensors")
    for name, tensor in kept.items():
        assert tensor.bfloat16().equal(published[published_name(name)])
    said = [e.message for e in read_events(attempt) if isinstance(e, events.LogLine)]
    assert any(
        message.startswith(f"early stopping: no held-out loss below {held_out[best]:.4f}")
        for message in said
    )
    again = next_attempt(attempt)
    assert train_here(again, monkeypatch) is None
    assert metrics_by_step(again) == {}
    assert adapter_bytes(again) == adapter_bytes(attempt)


def adapter_bytes(attempt: AttemptDirectory) -> bytes:
    return (attempt.adapter_path / "adapter_model.safetensors").read_bytes()


def published_name(name: str) -> str:
    return name.replace(".default.", ".")
