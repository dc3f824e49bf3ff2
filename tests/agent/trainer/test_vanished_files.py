"""Files that are taken away while a trainer runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from agent.trainer import __main__ as trainer_process
from agent.trainer.models.tiny_llama import ensure_tiny_llama
from shared.lifecycle import StopReason
from tests.agent.trainer.conftest import MakeAttempt
from tests.agent.trainer.in_process import spoil_steps, train_here
from tests.agent.trainer.running import finish_of

pytestmark = [
    # Raised inside transformers and peft, about each other.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def test_a_run_needs_its_training_file_no_more_and_its_base_model_only_to_verify(
    make_attempt: MakeAttempt,
    models_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base_model = tmp_path / "base model"
    shutil.copytree(ensure_tiny_llama(models_directory), base_model)
    attempt = make_attempt(base_model=str(base_model), hyperparameters={"eval_fraction": 0})
    elsewhere = tmp_path / "elsewhere"

    def take_both_away(loss: torch.Tensor) -> torch.Tensor:
        if base_model.exists():
            base_model.rename(elsewhere)
            attempt.read_spec().dataset_path.unlink()
        return loss

    spoil_steps(monkeypatch, take_both_away, first=2)
    assert train_here(attempt, monkeypatch) is None
    assert elsewhere.exists()
    assert trainer_process.main([str(attempt.path), "--verify"]) == 3
    finish = finish_of(attempt)
    assert finish.stop_reason is StopReason.INVALID_BASE_MODEL
    assert str(base_model) in finish.detail
    elsewhere.rename(base_model)
    assert trainer_process.main([str(attempt.path), "--verify"]) == 0
    assert finish_of(attempt).stop_reason is StopReason.COMPLETED
