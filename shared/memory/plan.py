"""Predicts the peak memory of a training run from the model's configuration alone, line by line.

What is kept from the first step to the last is exact: it follows from shapes and number formats.
What is alive at the fullest moment of a step follows from the code that runs
(`shared.memory.activations`). What CUDA and its allocator take is an allowance.

Predicted against measured (`scripts/bench_memory.py`, 2026-11): see the table in CHANGELOG.md.
Nothing here has been compared with a GPU yet: unverified on hardware.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from shared.memory.activations import (
    FP32_BYTES,
    block_bytes_per_token,
    compute_bytes,
    ends_bytes_per_token,
    passing_bytes_per_token,
)
from shared.memory.workload import Workload
from shared.number_text import many

NF4_BLOCK = 64
"""Weights that share a scale (QLoRA, Dettmers et al., 2023, section 3; bitsandbytes 0.50)."""
SCALES_BLOCK = 256
"""Scales that share a scale of their own: double quantisation."""
_LAYER_TABLES = 16 * FP32_BYTES + FP32_BYTES
"""Each quantised layer holds NF4's 16 values, and the mean of its scales."""

LOSS_POSITIONS = 512
"""Positions that `agent.trainer.loss` projects onto the vocabulary together: at Llama 3's 128,256
tokens their logits in fp32 are 263 MB."""
_MASK_BYTES = 3
"""Of a pair of positions: the mask itself, and as the attention adds it (bf16)."""

EIGHT_BIT_BLOCK = 256
"""Numbers of an 8-bit optimizer state that share a scale (bitsandbytes 0.50)."""

CUDA_BYTES = 800_000_000
"""Allowance for CUDA's context, the kernels and cuBLAS's workspace; not measured."""
FRAGMENTATION = 0.05
"""Allowance for what CUDA's allocator cannot use of the memory that comes and goes in every step;
not measured."""
PROCESS_BYTES = 600_000_000
CPU_FRAGMENTATION = 0.6
"""On a CPU: the process with the training stack, and what the C library's allocator holds back of
what comes and goes. Taken from runs of `scripts/bench_memory.py`: 40 to 85 % of it (glibc 2.36,
torch 2.13.0, 2026-11)."""


class Kind(StrEnum):
    """How a line of the plan is known."""

    KEPT = "kept"
    """From the first step to the last."""
    STEP = "step"
    """At the fullest moment of a step."""
    ALLOWANCE = "allowance"


@dataclass(frozen=True, slots=True)
class MemoryLine:
    """One part of the need, and how it was computed."""

    name: str
    arithmetic: str
    size_bytes: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The need of one process, on its GPU or, where there is none, in RAM."""

    lines: tuple[MemoryLine, ...]
    micro_batch_tokens: int
    lora_parameters: int

    @property
    def peak_bytes(self) -> int:
        return sum(line.size_bytes for line in self.lines)

    def bytes_of(self, *kinds: Kind) -> int:
        """Of these kinds together."""
        return sum(line.size_bytes for line in self.lines if line.kind in kinds)


def plan_memory(workload: Workload) -> MemoryPlan:
    """The peak and what it is made of.

    Raises:
        InvalidBaseModel: an adapter is wanted on a layer that the model does not have.
    """
    lines = [*_kept(workload), *_step(workload)]
    lines += _allowances(workload, lines)
    return MemoryPlan(tuple(lines), workload.micro_batch_tokens, workload.lora_parameters)


def nf4_bytes(parameters: int) -> int:
    """One weight matrix in NF4 with double quantisation."""
    blocks = ceil(parameters / NF4_BLOCK)
    return ceil(parameters / 2) + blocks + ceil(blocks / SCALES_BLOCK) * FP32_BYTES


# --- kept -------------------------------------------------------------------------------------


def _kept(workload: Workload) -> Iterator[MemoryLine]:
    shape, numbers = workload.shape, compute_bytes(workload)
    layers = shape.num_hidden_layers
    base = layers * sum(nf4_bytes(linear.parameters) + _LAYER_TABLES for linear in shape.linears)
    yield MemoryLine(
        "base model in NF4",
        f"{shape.quantized_parameters:,} weights x (1/2 + 1/{NF4_BLOCK} + "
        f"4/{NF4_BLOCK * SCALES_BLOCK:,}) bytes",
        base,
        Kind.KEPT,
    )
    matrices = "one matrix" if shape.tie_word_embeddings else "two matrices"
    yield MemoryLine(
        "embeddings and head",
        f"{matrices} of {shape.vocab_size:,} x {shape.hidden_size:,} x {numbers} bytes",
        shape.vocabulary_parameters * numbers,
        Kind.KEPT,
    )
    yield MemoryLine(
        "norms and biases",
        f"{shape.small_parameters:,} x {numbers} bytes",
        shape.small_parameters * numbers,
        Kind.KEPT,
    )
    trained = workload.lora_parameters
    yield MemoryLine(
        "adapter",
        f"{trained:,} parameters of rank {workload.lora_r} x {FP32_BYTES} bytes",
        trained * FP32_BYTES,
        Kind.KEPT,
    )
    yield MemoryLine(
        "gradients", f"{trained:,} x {FP32_BYTES} bytes", trained * FP32_BYTES, Kind.KEPT
    )
    yield _optimizer(workload)


def _optimizer(workload: Workload) -> MemoryLine:
    trained = workload.lora_parameters
    if "8bit" not in workload.optim:
        arithmetic = f"{trained:,} x 2 states x {FP32_BYTES} bytes"
        size = 2 * FP32_BYTES * trained
    else:
        arithmetic = f"{trained:,} x 2 states x (1 + 4/{EIGHT_BIT_BLOCK}) bytes"
        size = 2 * trained + 2 * FP32_BYTES * ceil(trained / EIGHT_BIT_BLOCK)
    return MemoryLine(f"optimizer, {workload.optim}", arithmetic, size, Kind.KEPT)


# --- at the fullest moment of a step ----------------------------------------------------------


def _step(workload: Workload) -> list[MemoryLine]:
    """The fullest of a step's moments."""
    moments = [_forward_end(workload), _loss(workload), _backward(workload), _update(workload)]
    return max(moments, key=lambda lines: sum(line.size_bytes for line in lines))


def _left_by_forward(workload: Workload) -> Iterator[MemoryLine]:
    tokens, shape = workload.micro_batch_tokens, workload.shape
    if workload.on_gpu:
        name, per_token = "checkpointed layer inputs", shape.hidden_size * compute_bytes(workload)
    else:
        name, per_token = "activations of all layers", block_bytes_per_token(workload)
    yield _per_token(name, shape.num_hidden_layers, per_token, tokens)
    yield _per_token("before and after the layers", 1, ends_bytes_per_token(workload), tokens)
    if not shape.attends_to_all:
        mask = f"{tokens:,} x {tokens:,} x {_MASK_BYTES} bytes"
        yield _step_line("attention mask", mask, _MASK_BYTES * tokens * tokens)


def _forward_end(workload: Workload) -> list[MemoryLine]:
    """The first look at the loss, while autocast still holds its copies of the adapter."""
    lines = [*_left_by_forward(workload), *_chunk(workload, numbers=2)]
    if workload.on_gpu:
        trained, width = workload.lora_parameters, compute_bytes(workload)
        copies = f"{trained:,} x {width} bytes"
        lines.append(_step_line("adapter as autocast has it", copies, trained * width))
    return lines


def _loss(workload: Workload) -> list[MemoryLine]:
    """Backward through one chunk of the loss: log-probabilities and two gradients of them."""
    per_token = workload.shape.hidden_size * (FP32_BYTES + 2 * compute_bytes(workload))
    scored = _per_token("gradients of what is scored", 1, per_token, workload.micro_batch_tokens)
    return [*_left_by_forward(workload), *_chunk(workload, numbers=3), scored]


def _chunk(workload: Workload, numbers: int) -> Iterator[MemoryLine]:
    positions = min(LOSS_POSITIONS, workload.micro_batch_tokens)
    vocabulary = workload.shape.vocab_size
    yield _step_line(
        "loss of a chunk",
        f"{positions} positions x {vocabulary:,} x {numbers} x {FP32_BYTES} bytes",
        positions * vocabulary * numbers * FP32_BYTES,
    )


def _backward(workload: Workload) -> list[MemoryLine]:
    """Backward through the last layer, computed again first where it was checkpointed."""
    tokens, width = workload.micro_batch_tokens, compute_bytes(workload)
    largest = max(workload.shape.linears, key=lambda linear: linear.parameters)
    lines = [*_left_by_forward(workload)]
    if workload.on_gpu:
        block = block_bytes_per_token(workload)
        lines.append(_per_token("one layer, computed again", 1, block, tokens))
    lines.append(_per_token("passing through it", 1, passing_bytes_per_token(workload), tokens))
    matrix = f"{largest.name}: {largest.out_features:,} x {largest.in_features:,} x {width} bytes"
    lines.append(_step_line("one weight matrix, dequantised", matrix, largest.parameters * width))
    return lines


def _update(workload: Workload) -> list[MemoryLine]:
    """The optimizer's own step; torch's takes all parameters together on a GPU, bitsandbytes' and
    that on a CPU one after the other.
    """
    if not workload.on_gpu or "8bit" in workload.optim:
        return []
    trained = workload.lora_parameters
    arithmetic = f"{trained:,} x {FP32_BYTES} bytes"
    return [_step_line("square roots in the optimizer", arithmetic, trained * FP32_BYTES)]


def _step_line(name: str, arithmetic: str, size_bytes: int) -> MemoryLine:
    return MemoryLine(name, arithmetic, size_bytes, Kind.STEP)


def _per_token(name: str, layers: int, bytes_per_token: int, tokens: int) -> MemoryLine:
    times = f"{many(layers, 'layer')} x " if layers > 1 else ""
    arithmetic = f"{times}{tokens:,} tokens x {bytes_per_token:,} bytes"
    return MemoryLine(name, arithmetic, layers * tokens * bytes_per_token, Kind.STEP)


# --- allowances -------------------------------------------------------------------------------


def _allowances(workload: Workload, lines: list[MemoryLine]) -> list[MemoryLine]:
    if workload.on_gpu:
        name, told, size, share = "CUDA", "context, kernels, workspace", CUDA_BYTES, FRAGMENTATION
    else:
        name, told = "process", "Python with the training stack"
        size, share = PROCESS_BYTES, CPU_FRAGMENTATION
    passing = sum(line.size_bytes for line in lines if line.kind is Kind.STEP)
    lost = f"{share:.0%} of what comes and goes in a step"
    return [
        MemoryLine(name, told, size, Kind.ALLOWANCE),
        MemoryLine("fragmentation", lost, round(share * passing), Kind.ALLOWANCE),
    ]
