"""Summed cross-entropy on supervised positions only, in chunks.

Between a third and two thirds of the tokens of a conversation carry no loss; projecting them onto
the vocabulary is wasted. Upstream's fused head leaves them out where Triton is installed, and
scores every position, with an entropy for each, where it is not. This does the same everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from shared.chat_format import IGNORED_LABEL
from shared.memory.plan import LOSS_POSITIONS

_SCALED_HEADS = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "output_multiplier",
    "router_aux_loss_coef",
)


def has_plain_head(config: Any) -> bool:
    """True if logits are the head's projection and nothing else, as for Llama, Mistral and Qwen."""
    return all(getattr(config, name, None) is None for name in _SCALED_HEADS)


def summed_loss(
    hidden_states: torch.Tensor, labels: torch.Tensor, lm_head: torch.nn.Module
) -> torch.Tensor:
    """Sum of the negative log-likelihoods in nats, a scalar in fp32.

    `hidden_states` (B, T, H) are the backbone's; `labels` (B, T) are not shifted: position t is
    scored against label t + 1, and not at all where that is -100.
    """
    next_labels = labels[:, 1:]
    is_supervised = next_labels != IGNORED_LABEL
    hidden = hidden_states[:, :-1][is_supervised]  # (N, H)
    targets = next_labels[is_supervised]  # (N,)
    # Begins as a zero that hangs on the model, so that a batch without targets still has gradients.
    total = hidden_states.float().sum() * 0.0
    for chunk, wanted in zip(
        hidden.split(LOSS_POSITIONS), targets.split(LOSS_POSITIONS), strict=True
    ):
        # Recomputed in backward: the logits of one chunk are all that is ever held.
        total = total + checkpoint(_chunk_loss, chunk, wanted, lm_head, use_reentrant=False)
    return total


def summed_loss_of_logits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The same from logits (B, T, V), for models that do more than a projection to make them."""
    next_labels = labels[:, 1:].reshape(-1)
    scored = logits[:, :-1].reshape(-1, logits.shape[-1]).float()
    return cross_entropy(scored, next_labels, ignore_index=IGNORED_LABEL, reduction="sum")


def _chunk_loss(
    hidden: torch.Tensor, targets: torch.Tensor, lm_head: torch.nn.Module
) -> torch.Tensor:
    logits = lm_head(hidden).float()  # (N, V)
    return cross_entropy(logits, targets, reduction="sum")
