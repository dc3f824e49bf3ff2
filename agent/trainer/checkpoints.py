"""Checkpoints that can be trusted: committed by a manifest, verified on load, nothing unpickled.

A checkpoint is a directory of safetensors and JSON: the adapter's parameters in fp32, the
optimizer's and the scheduler's state, the random number generators, and the step. Restored, it
continues bit for bit. Transformers' own checkpoints are not used: they are written in place and
unhashed, hold pickles, and the newest one wins even if it is empty.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy
import torch
from safetensors.torch import load_file
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from agent.run_directory import checkpoint_name, checkpoint_step
from agent.trainer.failures import is_disk_full
from agent.trainer.tensor_files import write_tensors
from shared import manifest
from shared.errors import CheckpointRejected, IntegrityError

PARAMETERS_FILE = "parameters.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
GENERATORS_FILE = "generators.safetensors"
STATE_FILE = "state.json"
TRAINER_STATE_FILE = "trainer_state.json"
"""Read by transformers on resume; plain JSON, with the number of the step and little else."""

REFUSED_FOLDER = "refused"

Written = TypeVar("Written")

Fingerprint = dict[str, Any]
"""What must be equal in the run that wrote a checkpoint and the run that resumes from it."""


@dataclass
class Progress:
    """Figures for the adapter's README that a resumed run cannot measure again, in nats."""

    final_loss: float | None = None
    base_eval_loss: float | None = None
    eval_loss: float | None = None


def save(
    folder: Path,
    step: int,
    *,
    model: torch.nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    progress: Progress,
    trainer_state: dict[str, Any],
    fingerprint: Fingerprint,
) -> Path:
    """Commit the checkpoint of `step` under `folder`; returns its directory.

    Raises:
        OSError: the disk is full or gone; nothing half written stays, older checkpoints do.
    """

    def write_files(partial: Path) -> dict[str, Any]:
        optimizer_tensors, optimizer_scalars = flatten_optimizer(optimizer)
        generator_tensors, generator_scalars = capture_generators()
        write_tensors(trainable_parameters(model), partial / PARAMETERS_FILE)
        write_tensors(optimizer_tensors, partial / OPTIMIZER_FILE)
        write_tensors(generator_tensors, partial / GENERATORS_FILE)
        state = {
            "optimizer": optimizer_scalars,
            "scheduler": _plain_scheduler_state(scheduler),
            "generators": generator_scalars,
            "progress": asdict(progress),
        }
        (partial / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
        (partial / TRAINER_STATE_FILE).write_text(json.dumps(trainer_state), encoding="utf-8")
        return {"step": step, "fingerprint": fingerprint}

    directory = folder / checkpoint_name(step)
    manifest.commit(directory, write_files)
    return directory


def newest_valid(
    folders: Iterable[Path], fingerprint: Fingerprint
) -> tuple[Path | None, list[tuple[Path, str]]]:
    """(the newest checkpoint that verifies, [(refused directory, why)]), newest folder first.

    A refused directory is moved aside, so that it is neither tried nor counted again.

    Raises:
        CheckpointRejected: a sound checkpoint of another run (dataset, base model, versions ...).
    """
    refused: list[tuple[Path, str]] = []
    for directory in _candidates(folders):
        try:
            found = manifest.verify(directory)
        except (IntegrityError, OSError) as error:
            refused.append((_move_aside(directory), str(error)))
            continue
        _require_same_run(directory, found.get("fingerprint", {}), fingerprint)
        return directory, refused
    return None, refused


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` committed checkpoints of `folder`."""
    directories = list(_candidates([folder]))
    for directory in directories[keep:]:
        # Renamed first: a kill in mid-removal must not leave a checkpoint that looks damaged.
        doomed = directory.with_name(directory.name + ".removing")
        os.rename(directory, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def with_room(folder: Path, write: Callable[[], Written]) -> Written:
    """The result of `write`; on a full disk all but the newest checkpoint make room for it first.

    Raises:
        OSError: there is no room even so; the newest checkpoint still stands.
    """
    try:
        return write()
    except OSError as error:
        if not is_disk_full(error):
            raise
    prune(folder, keep=1)
    return write()


def restore_parameters(directory: Path, model: torch.nn.Module) -> None:
    """Copy the saved parameters into `model`, exactly as they were."""
    saved = load_file(directory / PARAMETERS_FILE)
    current = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    if set(saved) != set(current):
        odd = ", ".join(sorted(set(saved) ^ set(current))[:3])
        raise CheckpointRejected(f"{directory}: holds other parameters than this run ({odd} ...)")
    with torch.no_grad():
        for name, parameter in current.items():
            parameter.copy_(saved[name])


def restore_optimizer(directory: Path, optimizer: Optimizer, scheduler: LRScheduler) -> None:
    """Put the saved state into the optimizer and the scheduler."""
    state = _read_state(directory)
    tensors = load_file(directory / OPTIMIZER_FILE)
    optimizer.load_state_dict(unflatten_optimizer(tensors, state["optimizer"], optimizer))
    scheduler.load_state_dict({**scheduler.state_dict(), **state["scheduler"]})


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


# --- plain values out of live objects, and back -----------------------------------------------


def trainable_parameters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies on the CPU of every parameter that is trained, by name."""
    return {
        name: parameter.detach().to("cpu", copy=True).contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def flatten_optimizer(optimizer: Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors by path such as `0/exp_avg`, JSON-ready scalars by path and parameter groups).

    bitsandbytes nests its tensors one level deeper than torch does: `0/.../state1`.
    """
    state_dict = optimizer.state_dict()
    leaves = dict(_leaves(state_dict["state"]))
    tensors = {
        path: value.detach().to("cpu", copy=True).contiguous()
        for path, value in leaves.items()
        if isinstance(value, torch.Tensor)
    }
    scalars = {path: value for path, value in leaves.items() if path not in tensors}
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in state_dict["param_groups"]
    ]
    return tensors, {"scalars": scalars, "groups": groups}


def unflatten_optimizer(
    tensors: dict[str, torch.Tensor], saved: dict[str, Any], optimizer: Optimizer
) -> dict[str, Any]:
    """What `optimizer.load_state_dict` takes, from what `flatten_optimizer` gave."""
    state: dict[Any, Any] = {}
    for path, value in {**tensors, **saved["scalars"]}.items():
        index, *names = path.split("/")
        node = state.setdefault(int(index), {})
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = value
    groups = [
        {**current, **_with_tuples(kept, current)}
        for current, kept in zip(
            optimizer.state_dict()["param_groups"], saved["groups"], strict=True
        )
    ]
    return {"state": state, "param_groups": groups}


def _leaves(node: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def capture_generators() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
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


def _plain_scheduler_state(scheduler: LRScheduler) -> dict[str, Any]:
    """The counters of the schedule; its functions belong to the code, not to the checkpoint."""
    plain = (int, float, list)
    state = scheduler.state_dict()
    return {
        key: value
        for key, value in state.items()
        if isinstance(value, plain) and key != "lr_lambdas"
    }


def _with_tuples(kept: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples: give back the type that the live optimizer uses (`betas`)."""
    return {
        key: tuple(value) if isinstance(current.get(key), tuple) else value
        for key, value in kept.items()
    }


def _read_state(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / STATE_FILE).read_text(encoding="utf-8")))


def _candidates(folders: Iterable[Path]) -> Iterator[Path]:
    """Checkpoint directories, folder by folder, the highest step of each first."""
    for folder in folders:
        if folder.is_dir():
            names = [entry.name for entry in folder.iterdir()]
            steps = [name for name in names if checkpoint_step(name) is not None]
            for name in sorted(steps, key=lambda item: checkpoint_step(item) or 0, reverse=True):
                yield folder / name


def _move_aside(directory: Path) -> Path:
    refused = directory.parent / REFUSED_FOLDER
    refused.mkdir(exist_ok=True)
    destination = refused / directory.name
    shutil.rmtree(destination, ignore_errors=True)
    os.rename(directory, destination)
    return destination


def _require_same_run(directory: Path, theirs: Fingerprint, ours: Fingerprint) -> None:
    differences = [
        f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key)
    ]
    if differences:
        raise CheckpointRejected(f"{directory} belongs to another run: {'; '.join(differences)}")
