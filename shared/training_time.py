"""Estimates how long a training takes on a GPU where it was never measured: from FLOPs alone.

An estimate, and called one wherever it is shown. A speed that was measured wins over it. Knows
nothing of loading or saving.
"""

from __future__ import annotations

from shared.forecast.forecast import Span
from shared.model_shape import ModelShape

PASSES = 6
"""FLOPs for each weight and token: 2 forward, 2 forward again (activation checkpointing), 2 for the
gradients of the activations. A frozen base has no gradients of its weights."""

FORWARD_SHARE = 2 / PASSES
"""Of a training's FLOPs, where nothing is trained: an evaluation."""

UTILISATION = (0.35, 0.40, 0.45)
"""Share of a card's dense bf16 peak that such a training reaches, at worst, as expected and at
best: assumed, not measured."""


def flops_per_token(shape: ModelShape) -> int:
    """Of training; the embeddings are looked up and not multiplied, attention is left out."""
    multiplied = shape.quantized_parameters + shape.vocab_size * shape.hidden_size
    return PASSES * multiplied


def estimated_time(flops: float, dense_tflops: float, num_gpus: int = 1) -> Span:
    """Seconds for so much arithmetic on GPUs of this peak."""
    low, usual, high = UTILISATION
    peak = dense_tflops * 1e12 * num_gpus
    return Span(
        best=flops / (peak * high), expected=flops / (peak * usual), worst=flops / (peak * low)
    )
