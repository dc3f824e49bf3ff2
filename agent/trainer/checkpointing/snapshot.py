"""A training run's whole state at the end of a step, copied into memory of the host.

The copy is all that the training waits for; writing it down is another thread's work. A snapshot
holds plain tensors and JSON-ready values, nothing that lives on. It knows nothing of files.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

TensorsByName = dict[str, torch.Tensor]


@dataclass
class Progress:
    """Figures of the run that a resumed run cannot measure again; losses in nats."""

    final_loss: float | None = None
    base_eval_loss: float | None = None
    eval_loss: float | None = None
    guards: dict[str, Any] = field(default_factory=dict)
    """What the guards of memory and of held-out loss must still know."""


@dataclass
class Snapshot:
    """One step's state; every tensor on the CPU, contiguous, and nobody else's."""

    step: int
    parameters: TensorsByName
    """Trained parameters in fp32, by name."""
    optimizer: TensorsByName
    """By path, such as `0/exp_avg`."""
    generators: TensorsByName
    state: dict[str, Any]
    """Scalars of optimizer, scheduler and generators, and the progress; JSON-ready."""
    trainer_state: dict[str, Any]
    """Transformers' own, JSON-ready."""
    stall_s: float = 0.0
    """What the training thread lost to this snapshot."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        groups = (self.parameters, self.optimizer, self.generators)
        return sum(tensor.nbytes for group in groups for tensor in group.values())


class SnapshotTaker:
    """Takes snapshots into buffers that are used again: pinned where there is a GPU.

    At most three are in use at a time: one being written, one waiting, one being filled.
    """

    def __init__(self) -> None:
        self._free: list[tuple[TensorsByName, TensorsByName]] = []
        self._lock = threading.Lock()

    def take(
        self,
        step: int,
        *,
        model: torch.nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        progress: Progress,
        trainer_state: dict[str, Any],
    ) -> Snapshot:
        """The state as it is now; returns once nothing of it is read any more."""
        # Kernels of the step that still run are no loss of the snapshot's.
        _wait_for_device()
        began = time.monotonic()
        with self._lock:
            parameters, optimizer_tensors = self._free.pop() if self._free else ({}, {})
        live, optimizer_scalars = flatten_optimizer(optimizer)
        with torch.no_grad():
            parameters = _copied(_trained(model), parameters)
            optimizer_tensors = _copied(live, optimizer_tensors)
        generators, generator_scalars = capture_generators()
        _wait_for_device()
        snapshot = Snapshot(
            step=step,
            parameters=parameters,
            optimizer=optimizer_tensors,
            generators=generators,
            state={
                "optimizer": optimizer_scalars,
                "scheduler": scheduler_counters(scheduler),
                "generators": generator_scalars,
                "progress": asdict(progress),
            },
            trainer_state=trainer_state,
        )
        snapshot.stall_s = time.monotonic() - began
        return snapshot

    def give_back(self, snapshot: Snapshot) -> None:
        """Its buffers may be filled anew; the caller reads them no more."""
        with self._lock:
            self._free.append((snapshot.parameters, snapshot.optimizer))


def trainable_parameters(model: torch.nn.Module) -> TensorsByName:
    """Copies on the CPU of every parameter that is trained, by name."""
    return {
        name: parameter.to("cpu", copy=True).contiguous()
        for name, parameter in _trained(model).items()
    }


def flatten_optimizer(optimizer: Optimizer) -> tuple[TensorsByName, dict[str, Any]]:
    """(live tensors by path such as `0/exp_avg`, the rest as JSON-ready values).

    bitsandbytes nests its tensors one level deeper than torch does: `0/.../state1`. The groups'
    settings are not state: they follow from the job and the schedule.
    """
    leaves = dict(_leaves(optimizer.state_dict()["state"]))
    tensors = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, torch.Tensor)}
    scalars = {path: leaf for path, leaf in leaves.items() if path not in tensors}
    return tensors, {"kind": optimizer_kind(optimizer), "scalars": scalars}


def optimizer_kind(optimizer: Optimizer) -> str:
    """Names optimizers whose state looks alike; where it lies (`paged`) does not matter."""
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper has one inside
    bits = getattr(getattr(inner, "args", None), "optim_bits", "")
    return f"{type(inner).__module__}.{type(inner).__qualname__} {bits}".rstrip()


def capture_generators() -> tuple[TensorsByName, dict[str, Any]]:
    """(tensors, JSON-ready scalars) of every random number generator in use."""
    version, python_state, gauss_next = random.getstate()
    _, keys, position, has_gauss, cached_gaussian = numpy.random.get_state(legacy=True)
    tensors = {"torch": torch.get_rng_state()}
    for index in range(torch.cuda.device_count()):
        tensors[f"cuda.{index}"] = torch.cuda.get_rng_state(index)
    scalars = {
        "python_version": version,
        "python_state": python_state,
        "python_gauss_next": gauss_next,
        "numpy_keys": [int(key) for key in keys],
        "numpy_position": int(position),
        "numpy_has_gauss": int(has_gauss),
        "numpy_cached_gaussian": float(cached_gaussian),
    }
    return tensors, scalars


def scheduler_counters(scheduler: LRScheduler) -> dict[str, int]:
    """How far the schedule is; its shape and the rates belong to the job."""
    state = scheduler.state_dict()
    return {name: state[name] for name in ("last_epoch", "_step_count")}


def _trained(model: torch.nn.Module) -> TensorsByName:
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _copied(live: TensorsByName, buffers: TensorsByName) -> TensorsByName:
    """Copies into `buffers` where they fit; those from a GPU are only under way on return."""
    copies = {}
    for name, tensor in live.items():
        buffer = buffers.get(name)
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        copies[name] = buffer.copy_(tensor, non_blocking=tensor.is_cuda)
    return copies


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _leaves(node: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
