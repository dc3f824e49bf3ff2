"""What the curves of a run say about its settings: too little, too much, or too long.

One suggestion of a kind, from one rule: a loss that climbed is not also "not falling". A run of
fewer than `LEAST_STEPS` steps says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from shared.advice.suggestion import EndedJob, Suggestion
from shared.number_text import many

LEAST_STEPS = 20
"""So that a fifth of the run has four steps."""

LEAST_FALL = 0.02
"""The last fifth of the training losses lies at least 2 % below the first one, or the loss is not
falling. Measured with the tiny model on the sample file, six epochs (2026-11): 3.7 % at a
learning_rate of 2e-4, 0.01 % at 1e-6."""

DRIFT_WINDOW = 10
DRIFT_SHARE = 0.2
LEAST_RISE = 0.3
"""A last mean of ten steps that is both 20 % and 0.3 nats above the lowest such mean is a
divergence. Ours (2026-11). The trainer's alert (`agent/trainer/guards.py`) has bounds of its own,
a little wider: it speaks in the midst of a run, and a rise may still pass."""

LEAST_OVERFIT = 0.01
"""In nats: a held-out loss that has risen by less has not risen. It is 1 % of the perplexity; both
losses are of the same conversations, so they differ by the training alone. Ours (2026-11)."""

HIGHEST_LEARNING_RATE = 3e-4
"""Upper end of what large models like (tinker-cookbook, sft_sweep.md, 2026-11)."""

HIGHEST_RANK = 64
"""QLoRA (Dettmers et al., 2023, appendix A.2) finds no gain in rank between 8 and 256 once every
linear layer is adapted, so this is the last resort, and ends early."""

STRONGER_DECAY = 0.1
"""AdamW's usual strong setting (GPT-3, Brown et al., 2020, appendix B)."""


def curve_suggestions(job: EndedJob) -> Iterator[Suggestion]:
    """What the training and the held-out loss suggest, the more certain first."""
    losses = [loss for _, loss in job.losses]
    if len(losses) < LEAST_STEPS:
        return
    found = list(_diverged(job, losses))
    overfitted = list(_overfitted(job))
    yield from found
    yield from overfitted
    if not found and not overfitted:
        yield from _not_falling(job, losses)


def half_rate(rate: float) -> float:
    """Half of a learning rate, as short as one would type it."""
    return float(f"{rate / 2:.3g}")


def _diverged(job: EndedJob, losses: Sequence[float]) -> Iterator[Suggestion]:
    means = [
        fmean(losses[end - DRIFT_WINDOW : end]) for end in range(DRIFT_WINDOW, len(losses) + 1)
    ]
    lowest, last = min(means), means[-1]
    if last - lowest <= max(LEAST_RISE, DRIFT_SHARE * lowest):
        return
    rate = job.spec.hyperparameters.learning_rate
    yield Suggestion(
        f"The loss diverged: it was {lowest:.4f} at its lowest and {last:.4f} at the end (means of "
        f"{DRIFT_WINDOW} steps), at learning_rate {rate:g}.",
        {"learning_rate": half_rate(rate)},
    )


def _not_falling(job: EndedJob, losses: Sequence[float]) -> Iterator[Suggestion]:
    fifth = len(losses) // 5
    first, last = fmean(losses[:fifth]), fmean(losses[-fifth:])
    if first <= 0 or first - last >= LEAST_FALL * first or _held_out_fell(job):
        return
    chosen = job.spec.hyperparameters
    fell = (
        f"The loss hardly fell: {first:.4f} in the first fifth of the run, {last:.4f} in the last"
    )
    if chosen.learning_rate < HIGHEST_LEARNING_RATE:
        rate = min(float(f"{2 * chosen.learning_rate:.3g}"), HIGHEST_LEARNING_RATE)
        yield Suggestion(
            f"{fell}, at learning_rate {chosen.learning_rate:g}.", {"learning_rate": rate}
        )
    if chosen.lora_r < HIGHEST_RANK:
        rank = min(2 * chosen.lora_r, HIGHEST_RANK)
        alpha = min(chosen.lora_alpha * rank // chosen.lora_r, 512)
        yield Suggestion(
            f"{fell}, with lora_r {chosen.lora_r}.", {"lora_r": rank, "lora_alpha": alpha}
        )


def _held_out_fell(job: EndedJob) -> bool:
    held_out = [loss for _, loss in job.held_out]
    return len(held_out) > 1 and held_out[0] - held_out[-1] >= LEAST_FALL * held_out[0]


def _overfitted(job: EndedJob) -> Iterator[Suggestion]:
    held_out = job.held_out
    if len(held_out) < 2:
        return
    best_epoch, best = min(held_out, key=lambda item: item[1])
    last_epoch, last = held_out[-1]
    before, after = _training_means(job, best_epoch, last_epoch)
    if last - best < LEAST_OVERFIT or before is None or after is None or after >= before:
        return
    chosen = job.spec.hyperparameters
    reason = (
        f"The held-out loss was best at epoch {best_epoch:.3g} ({best:.4f}) and rose to "
        f"{last:.4f}, while the training loss went on falling ({before:.4f} to {after:.4f})"
    )
    # Whoever stops before the last quarter of an epoch trains a whole one less or more.
    epochs = max(math.ceil(best_epoch - 0.25), 1)
    if epochs < chosen.num_epochs:
        yield Suggestion(
            f"{reason}: {many(epochs, 'epoch')} would have been enough.", {"num_epochs": epochs}
        )
    if best_epoch < 0.25:
        rate = half_rate(chosen.learning_rate)
        yield Suggestion(f"{reason}: smaller steps.", {"learning_rate": rate})
    if chosen.weight_decay < STRONGER_DECAY:
        yield Suggestion(
            f"{reason}: decay holds the weights back.", {"weight_decay": STRONGER_DECAY}
        )
    if job.spec.early_stopping_patience is None:
        yield Suggestion(f"{reason}: stop when that begins.", {"early_stopping_patience": 1})


def _training_means(
    job: EndedJob, best_epoch: float, last_epoch: float
) -> tuple[float | None, float | None]:
    """Training loss of the epoch that ends with the best evaluation, and of the last epoch."""

    def mean_of(begin: float, end: float) -> float | None:
        losses = [loss for epoch, loss in job.losses if begin < epoch <= end]
        return fmean(losses) if losses else None

    end = max(best_epoch, 1.0)
    return mean_of(end - 1, end), mean_of(last_epoch - 1, last_epoch)
