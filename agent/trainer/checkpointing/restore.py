"""Puts a checkpoint's files back into the live objects of a run.

Reads safetensors and JSON, nothing else, and always into memory of the host first. Whether the
files are whole and belong to this run has been settled before.
"""

from __future__ import annotations

import gc
import json
import random
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors.torch import load_file
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from agent.trainer.checkpointing.checkpoints import (
    GENERATORS_FILE,
    OPTIMIZER_FILE,
    PARAMETERS_FILE,
    STATE_FILE,
)
from agent.trainer.checkpointing.snapshot import Progress, TensorsByName, optimizer_kind
from shared.errors import CheckpointRejected

_PAGED_STATES = ("state1", "state2")
"""What bitsandbytes' paged optimizers keep in paged memory (`init_state`, 0.50.2, 2026-11)."""


def restore_parameters(directory: Path, model: torch.nn.Module) -> None:
    """Copy the saved parameters into `model`, exactly as they were.

    Raises:
        CheckpointRejected: the model trains others, or of another shape.
    """
    saved = load_file(directory / PARAMETERS_FILE)
    current = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    if set(saved) != set(current):
        odd = ", ".join(sorted(set(saved) ^ set(current))[:3])
        raise CheckpointRejected(f"{directory}: holds other parameters than this run ({odd} ...)")
    for name, parameter in current.items():
        if saved[name].shape != parameter.shape:
            there, here = tuple(saved[name].shape), tuple(parameter.shape)
            raise CheckpointRejected(f"{directory}: {name} is {there} there, {here} here")
    with torch.no_grad():
        for name, parameter in current.items():
            parameter.copy_(saved[name])


def restore_optimizer(directory: Path, optimizer: Optimizer, scheduler: LambdaLR) -> bool:
    """Put the saved state into the optimizer and the schedule at its step.

    Learning rate, weight decay and the like stay those of this run. False if the optimizer is of
    another kind: it then begins without a state of its own.

    Raises:
        torch.OutOfMemoryError: the state does not fit on the device beside the model.
    """
    state = _read_state(directory)
    inner = getattr(optimizer, "optimizer", optimizer)
    is_same_kind = state["optimizer"]["kind"] == optimizer_kind(inner)
    if is_same_kind:
        tensors = load_file(directory / OPTIMIZER_FILE)
        _load_state(inner, tensors, state["optimizer"]["scalars"])
    scheduler.load_state_dict({**scheduler.state_dict(), **state["scheduler"]})
    _set_learning_rates(optimizer, scheduler)
    return is_same_kind


def read_progress(directory: Path) -> Progress:
    """The figures that the saved run had measured."""
    return Progress(**_read_state(directory)["progress"])


def restore_generators(directory: Path) -> None:
    """Set Python's, NumPy's, torch's and CUDA's generators to where they were."""
    scalars = _read_state(directory)["generators"]
    tensors = load_file(directory / GENERATORS_FILE)
    version, gauss_next = scalars["python_version"], scalars["python_gauss_next"]
    random.setstate((version, tuple(scalars["python_state"]), gauss_next))
    numpy.random.set_state(
        (
            "MT19937",
            numpy.array(scalars["numpy_keys"], dtype=numpy.uint32),
            scalars["numpy_position"],
            scalars["numpy_has_gauss"],
            scalars["numpy_cached_gaussian"],
        )
    )
    torch.set_rng_state(tensors["torch"])
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{index}"], index)


def _load_state(optimizer: Optimizer, tensors: TensorsByName, scalars: dict[str, Any]) -> None:
    """Load, and once more with an emptied cache: memory is tightest when a run resumes."""
    try:
        _load_once(optimizer, tensors, scalars)
        return
    except torch.OutOfMemoryError:
        optimizer.state.clear()
    # Outside the handler, whose error still holds the frames and with them the tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        _load_once(optimizer, tensors, scalars)
    except torch.OutOfMemoryError as error:
        megabytes = sum(tensor.nbytes for tensor in tensors.values()) / 1e6
        raise torch.OutOfMemoryError(
            f"the optimizer's state ({megabytes:.0f} MB) does not fit beside the model: {error}"
        ) from error


def _load_once(optimizer: Optimizer, tensors: TensorsByName, scalars: dict[str, Any]) -> None:
    state_dict = {
        "state": unflatten({**tensors, **scalars}),
        "param_groups": optimizer.state_dict()["param_groups"],
    }
    on_gpu = any(p.is_cuda for group in optimizer.param_groups for p in group["params"])
    if getattr(optimizer, "is_paged", False) and on_gpu:
        _load_paged(optimizer, state_dict)
    else:
        optimizer.load_state_dict(state_dict)


def _load_paged(optimizer: Any, state_dict: dict[str, Any]) -> None:
    """Load into paged memory again; upstream would put all of it on the GPU for good.

    Unverified on hardware.
    """
    optimizer.load_state_dict(state_dict, move_to_device=False)
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if name in _PAGED_STATES:
                state[name] = optimizer.get_state_buffer(parameter, dtype=value.dtype)
                torch.cuda.synchronize()  # The fill with zeros runs on the GPU; this copy may not.
                state[name].copy_(value)
            elif isinstance(value, torch.Tensor):
                state[name] = value.to(parameter.device)


def unflatten(leaves: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The optimizer's state by parameter, from leaves by path such as `0/exp_avg`."""
    state: dict[int, dict[str, Any]] = {}
    for path, leaf in leaves.items():
        index, *names = path.split("/")
        node = state.setdefault(int(index), {})
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = leaf
    return state


def _set_learning_rates(optimizer: Optimizer, scheduler: LambdaLR) -> None:
    """The rates of the schedule's step, as `scheduler.step` gives them."""
    factors = [schedule(scheduler.last_epoch) for schedule in scheduler.lr_lambdas]
    rates = [base * factor for base, factor in zip(scheduler.base_lrs, factors, strict=True)]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates


def _read_state(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / STATE_FILE).read_text(encoding="utf-8")))
