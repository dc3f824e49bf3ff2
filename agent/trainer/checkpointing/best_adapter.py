"""Keeps the adapter with the lowest held-out loss, for runs that may stop early.

It stands beside the checkpoints and is no checkpoint: nothing can be resumed from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from agent.trainer.checkpointing.checkpoints import PARAMETERS_FILE
from agent.trainer.checkpointing.restore import restore_parameters
from agent.trainer.checkpointing.snapshot import trainable_parameters
from agent.trainer.tensor_files import write_tensors
from shared import manifest
from shared.errors import CheckpointRejected, IntegrityError


def keep(directory: Path, model: torch.nn.Module, step: int, loss: float) -> None:
    """Commit the trained parameters as they are now, in place of those kept before.

    Raises:
        OSError: the disk is full or gone; what was kept before still stands.
    """

    def write_files(partial: Path) -> dict[str, Any]:
        write_tensors(trainable_parameters(model), partial / PARAMETERS_FILE)
        return {"step": step, "eval_loss": loss}

    manifest.commit(directory, write_files)


def restore(directories: Iterable[Path], model: torch.nn.Module, step: int) -> None:
    """Give `model` the parameters that were kept at `step`, of the first directory that has them.

    Raises:
        CheckpointRejected: none has them whole.
    """
    for directory in directories:
        try:
            if manifest.verify(directory).get("step") == step:
                restore_parameters(directory, model)
                return
        except (IntegrityError, OSError):
            continue
    raise CheckpointRejected(f"the adapter of step {step}, the best of the run, is not whole")
