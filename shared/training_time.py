"""Estimates how long a training takes on a GPU where it was never measured: from FLOPs alone.

An estimate, and called one wherever it is shown. A speed that was measured wins over it. Knows
nothing of loading, evaluation or saving.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.model_shape import ModelShape

PASSES = 6
"""FLOPs for each weight and token: 2 forward, 2 forward again (activation checkpointing), 2 for the
gradients of the activations. A frozen base has no gradients of its weights."""

UTILISATION = (0.35, 0.45)
"""Share of a card's dense bf16 peak that such a training reaches, low and high: assumed, not
measured."""


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """Fastest and slowest, in seconds."""

    from_s: float
    to_s: float


def flops_per_token(shape: ModelShape) -> int:
    """Of training; the embeddings are looked up and not multiplied, attention is left out."""
    multiplied = shape.quantized_parameters + shape.vocab_size * shape.hidden_size
    return PASSES * multiplied


def estimated_time(
    shape: ModelShape, tokens: int, dense_tflops: float, num_gpus: int = 1
) -> TimeSpan:
    """For so many tokens through the model, epochs included, on GPUs of this peak."""
    flops = flops_per_token(shape) * tokens
    low, high = UTILISATION
    peak = dense_tflops * 1e12 * num_gpus
    return TimeSpan(flops / (peak * high), flops / (peak * low))
