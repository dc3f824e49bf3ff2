"""How much disk a job needs on a rented machine, and what for: arithmetic before renting.

The quantiser of the trainer keeps two of the source's files on the disk beside the quantised copy,
never all of them: Llama 3 70B takes 39.5 GB and twice 5 GB rather than 141 GB and 39.5 GB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.clean_text import clean_line
from shared.errors import InvalidBaseModel, InvalidMachineRequest
from shared.job_spec import JobSpec
from shared.memory.plan import nf4_bytes
from shared.memory.workload import Workload
from shared.model_cache import SMALLEST_AUTO_BYTES, SOURCE_SHARDS_AT_ONCE
from shared.model_shape import ModelShape
from shared.number_text import size
from tui.services.model_shapes import FoundShape

_GB = 10**9
_STACK_BYTES = 15 * _GB
"""The training stack with CUDA takes 9 GB (2026-11); the agent, its packages and logs the rest.
Unverified on hardware."""
_BYTES_PER_WEIGHT = 2
"""Base models are published in 16 bits; what is not quantised stays so."""
_USUAL_SHARD_BYTES = 5 * _GB
"""What transformers cut large models into for years; the hub knows better where it is asked."""
_ADAPTER_BYTES, _STATE_BYTES = 4, 2.1
"""A parameter in fp32, and its two 8-bit states with their scales: a checkpoint of Llama 3 70B of
rank 16 takes 1.25 GB (2026-11)."""
_STEP_GB = 10
LEAST_GB = 50


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """What a job puts on a disk, line by line, in bytes."""

    lines: tuple[tuple[str, int], ...]
    is_complete: bool = True
    """False where the base model's size is not known: then it is a lower bound."""

    @property
    def size_bytes(self) -> int:
        return sum(amount for _, amount in self.lines)

    @property
    def size_gb(self) -> int:
        """Rounded up, as disks are sold; a little disk is never worth its trouble."""
        steps = math.ceil(self.size_bytes / (_STEP_GB * _GB))
        return max(steps * _STEP_GB, LEAST_GB)

    @property
    def in_words(self) -> str:
        """`39.5 GB the quantised base model, 10.0 GB ...`."""
        parts = ", ".join(f"{size(amount)} {what}" for what, amount in self.lines if amount)
        return parts if self.is_complete else f"{parts}; the base model's size is not known"


@dataclass(frozen=True, slots=True)
class Disk:
    """Where a job's base model comes to lie."""

    kind: Literal["volume", "new volume", "container"]
    size_gb: int
    name: str = ""


def require_room(need: DiskNeed, disk: Disk) -> None:
    """Refuse a disk on which the job would end for want of room. Nobody knows what else is on it.

    Raises:
        InvalidMachineRequest: too small; says which size would do.
    """
    if disk.size_gb * _GB >= need.size_bytes or not need.is_complete:
        return
    what = {
        "volume": f"The network volume {clean_line(disk.name)} has",
        "new volume": "The new network volume would have",
        "container": "The machine's own disk would have",
    }[disk.kind]
    advice = {
        "volume": f"Enlarge it in the provider's console (a volume can grow), or --volume "
        f"new:{need.size_gb}.",
        "new volume": f"Take --volume new:{need.size_gb}, or new alone.",
        "container": f"Take --disk {need.size_gb}, or leave it out.",
    }[disk.kind]
    raise InvalidMachineRequest(
        f"{what} {disk.size_gb} GB, and the job needs at least {need.size_gb} GB "
        f"({need.in_words}); nothing was rented. {advice}"
    )


def disk_need(spec: JobSpec, found: FoundShape, *, taken_bytes: int = 0) -> DiskNeed:
    """Of the job on a disk on which `taken_bytes` are known to be taken by other base models."""
    shape = found.shape
    model = _model_lines(spec, found)
    lines = [
        *(model or ()),
        ("the training stack", _STACK_BYTES),
        *([] if shape is None else _kept_lines(spec, shape)),
        ("that must stay free", spec.disk_floor_bytes),
        ("other base models there", taken_bytes),
    ]
    return DiskNeed(tuple(lines), is_complete=model is not None and shape is not None)


def copy_bytes(shape: ModelShape) -> int:
    """The base model as it is kept: linear layers in NF4, the rest in 16 bits."""
    layers = shape.num_hidden_layers * sum(nf4_bytes(each.parameters) for each in shape.linears)
    rest = shape.vocabulary_parameters + shape.small_parameters
    return layers + rest * _BYTES_PER_WEIGHT


def _model_lines(spec: JobSpec, found: FoundShape) -> list[tuple[str, int]] | None:
    """What the base model takes; None where nobody knows."""
    if Path(spec.base_model).is_absolute():  # It lies there already.
        return []
    shape, hub = found.shape, found.hub
    published = 0 if hub is None else hub.weight_bytes
    if not published and shape is not None:
        published = shape.parameters * _BYTES_PER_WEIGHT
    if not published:
        return None
    is_small = spec.model_cache == "auto" and published < SMALLEST_AUTO_BYTES
    if shape is None or spec.model_cache == "off" or is_small:
        return [("the base model as it is published", published)]
    largest = 0 if hub is None else hub.largest_shard_bytes
    largest = largest or min(_USUAL_SHARD_BYTES, published)
    on_the_way = min(SOURCE_SHARDS_AT_ONCE * largest, published)
    return [
        ("the quantised base model", copy_bytes(shape)),
        ("of it on its way", on_the_way),
    ]


def _kept_lines(spec: JobSpec, shape: ModelShape) -> list[tuple[str, int]]:
    """Checkpoints, one more while it is written, and the adapter."""
    trained = _lora_parameters(spec, shape)
    state_bytes = _STATE_BYTES if "8bit" in spec.optimizer(on_cuda=True) else 2 * _ADAPTER_BYTES
    checkpoint = round(trained * (_ADAPTER_BYTES + state_bytes))
    adapters = 1 if spec.early_stopping_patience is None else 2
    return [
        ("checkpoints", (spec.checkpoints_kept + 1) * checkpoint),
        ("the adapter", adapters * trained * _ADAPTER_BYTES),
    ]


def _lora_parameters(spec: JobSpec, shape: ModelShape) -> int:
    """0 where the model lacks a wanted layer: the prediction of its memory says so."""
    try:
        return Workload.of(spec, shape, longest_row_tokens=1, on_gpu=True).lora_parameters
    except InvalidBaseModel:
        return 0
