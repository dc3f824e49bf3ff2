"""Bytes that one token costs while it goes through the model: kept for backward, and in passing.

Written down from the code that runs: transformers 5.23 (modeling_llama.py, SDPA with grouped
heads), peft 0.21 (LoRA on a quantised layer under autocast) and bitsandbytes 0.50 (which keeps
nothing of a layer's input), 2026-11. `scripts/bench_memory.py` compares it with what the trainer
allocates; the figures for a GPU are unverified on hardware.
"""

from __future__ import annotations

from shared.memory.workload import Workload

FP32_BYTES = 4


def compute_bytes(workload: Workload) -> int:
    """Of one number in the forward pass: bf16 on a GPU, fp32 on a CPU."""
    return 2 if workload.on_gpu else FP32_BYTES


def block_bytes_per_token(workload: Workload) -> int:
    """What one block keeps of a token for its backward pass."""
    return _norms(workload) + _attention(workload) + _mlp(workload) + _adapters(workload)


def _norms(workload: Workload) -> int:
    """Both norms compute in fp32 and keep their input so, with one factor a token."""
    shape = workload.shape
    kept = 2 * (shape.hidden_size + 1)
    if shape.has_query_norm:
        kept += shape.query_size + shape.key_value_size
        kept += shape.num_attention_heads + shape.num_key_value_heads
    return kept * FP32_BYTES


def _attention(workload: Workload) -> int:
    """Queries, keys and values as they are multiplied, the output, and a logsumexp a head.

    Values that are a part of one joined projection keep all of it alive.
    """
    shape = workload.shape
    kept = 2 * shape.query_size + 2 * shape.key_value_size
    if shape.joins_projections:
        kept += shape.query_size + shape.key_value_size
    return kept * compute_bytes(workload) + shape.num_attention_heads * FP32_BYTES


def _mlp(workload: Workload) -> int:
    """gate, its activation, and up."""
    return 3 * workload.shape.intermediate_size * compute_bytes(workload)


def _adapters(workload: Workload) -> int:
    """Each adapter keeps its input after dropout, dropout's mask, and r numbers between A and B.

    A GPU keeps a mask of one byte, a CPU the numbers that it multiplies with. Without dropout, an
    input is kept once for all adapters that share it; the output projection's is attention's own,
    unless the projections are joined: then it is a copy in another order.
    """
    numbers = compute_bytes(workload)
    adapted = workload.adapted
    between = workload.lora_r * len(adapted) * numbers
    if workload.lora_dropout > 0:
        mask = 1 if workload.on_gpu else FP32_BYTES
        return between + sum(linear.in_features for linear in adapted) * (numbers + mask)
    names, shape = {linear.name for linear in adapted}, workload.shape
    hidden, inner = shape.hidden_size, shape.intermediate_size
    inputs = shape.query_size if shape.joins_projections and "o_proj" in names else 0
    inputs += hidden if names & {"q_proj", "k_proj", "v_proj", "qkv_proj"} else 0
    inputs += hidden if names & {"gate_proj", "up_proj", "gate_up_proj"} else 0
    inputs += inner if "down_proj" in names else 0
    return between + inputs * numbers


def passing_bytes_per_token(workload: Workload) -> int:
    """At the fullest moment of a block's backward pass, which is in its MLP.

    Two gradients as wide as the MLP, one of the base layer and one of the adapter, and two as wide
    as the block. Forward needs about as much: results before and after the adapter is added.
    """
    shape = workload.shape
    return 2 * (shape.intermediate_size + shape.hidden_size) * compute_bytes(workload)


def ends_bytes_per_token(workload: Workload) -> int:
    """What lies outside of the blocks: the last norm's input and output, rotary angles, ids."""
    shape, numbers = workload.shape, compute_bytes(workload)
    last_norm = shape.hidden_size * (FP32_BYTES + numbers)
    angles = 2 * shape.head_dim * numbers
    ids = 3 * 8
    return last_norm + angles + ids
