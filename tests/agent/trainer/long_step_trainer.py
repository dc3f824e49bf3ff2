"""The real trainer with one step that stays in C++ for minutes, like a step of a large model.

python long_step_trainer.py ATTEMPT_DIRECTORY STEP
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from agent.trainer.__main__ import main
from agent.trainer.checkpointing import checkpoint_schedule
from agent.trainer.qlora_trainer import QLoRATrainer

MARK = "the long step has begun"


def lengthen(step: int) -> None:
    """Have training step `step` begin with one call that no signal handler can interrupt."""
    honest = QLoRATrainer.training_step

    def training_step(self: QLoRATrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step + 1 == step:
            print(MARK, flush=True)
            torch.linalg.svd(torch.randn(8000, 8000, dtype=torch.float64))
        return honest(self, *args, **kwargs)

    QLoRATrainer.training_step = training_step  # type: ignore[method-assign]
    # Steps this short may not pay for a snapshot each on a loaded machine; here each is kept.
    checkpoint_schedule.KEPT_SHARE = 1.0


if __name__ == "__main__":
    lengthen(int(sys.argv[2]))
    sys.exit(main(sys.argv[1:2]))
