"""Runs the trainer's training phase inside the test's process, where faults can be put into it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agent.run_directory import AttemptDirectory
from agent.trainer import __main__ as trainer_process
from agent.trainer.qlora_trainer import QLoRATrainer

Spoil = Callable[[torch.Tensor], torch.Tensor]


def train_here(attempt: AttemptDirectory, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """Exit code of the training phase in this process; None where it would go on to verify."""

    class WouldVerify(BaseException):
        pass

    def execv(path: str, command: list[str]) -> None:
        raise WouldVerify

    monkeypatch.setattr("os.execv", execv)
    try:
        return trainer_process.main([str(attempt.path)])
    except WouldVerify:
        return None


def spoil_steps(
    monkeypatch: pytest.MonkeyPatch, spoil: Spoil, *, first: int, last: int | None = None
) -> None:
    """In optimizer steps `first` to `last`, each loss is what `spoil` makes of it."""
    honest = QLoRATrainer.compute_loss

    def compute_loss(self: QLoRATrainer, *args: object, **kwargs: object) -> torch.Tensor:
        loss = honest(self, *args, **kwargs)  # type: ignore[arg-type]
        step = self.state.global_step + 1
        return spoil(loss) if first <= step and (last is None or step <= last) else loss

    monkeypatch.setattr(QLoRATrainer, "compute_loss", compute_loss)
