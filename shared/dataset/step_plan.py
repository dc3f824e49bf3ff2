"""Which conversations each optimizer step trains, and so how many steps there are.

A pure function of counts, hyperparameters and seed: the laptop knows the number of steps before
anything is started, and step n holds the same examples whether a run was interrupted or not.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from shared.hyperparameters import Hyperparameters


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: the examples it trains, one micro-batch each."""

    examples: tuple[int, ...]
    """Indices into the training examples."""
    epoch_end: float
    """Epochs trained once this step is done; whole only for the last step of an epoch."""


def plan_steps(target_counts: Sequence[int], hyperparameters: Hyperparameters) -> list[Step]:
    """The examples of every optimizer step, over all epochs.

    A step is filled with whole conversations in a shuffled order until it holds
    `batch_size x gradient_accumulation_steps` targets; batches are counted in targets, not rows,
    so that folding changes neither the number of steps nor what one step sees.
    """
    steps: list[Step] = []
    targets_per_epoch = sum(target_counts)
    for epoch in range(hyperparameters.num_epochs):
        order = list(range(len(target_counts)))
        random.Random(f"{hyperparameters.seed}:{epoch}").shuffle(order)
        done = 0
        chosen: list[int] = []
        for index in order:
            chosen.append(index)
            held = sum(target_counts[i] for i in chosen)
            if held >= hyperparameters.targets_per_step:
                done += held
                steps.append(Step(tuple(chosen), epoch + done / targets_per_epoch))
                chosen = []
        if chosen:
            steps.append(Step(tuple(chosen), float(epoch + 1)))
    return steps
