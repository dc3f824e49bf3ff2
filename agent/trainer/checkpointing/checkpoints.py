"""Checkpoints on the disk that can be trusted: committed by a manifest, verified on load.

A checkpoint is a directory of safetensors and JSON: the adapter's parameters in fp32, the
optimizer's and the scheduler's state, the random number generators, and the step. Restored, it
continues bit for bit. Transformers' own checkpoints are not used: they are written in place and
unhashed, hold pickles, and the newest one wins even if it is empty.

This module knows directories and their names; `snapshot` beside it takes what is in them, and
`restore` puts it back.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from agent.run_directory import AgentRoot, checkpoint_name, checkpoint_step
from agent.trainer.checkpointing.snapshot import Snapshot
from agent.trainer.failures import is_disk_full
from agent.trainer.tensor_files import write_tensors
from shared import manifest
from shared.errors import CheckpointRejected, IntegrityError
from shared.events import utc_now
from shared.job_spec import CheckpointReference

FORMAT_VERSION = 2
"""Of the files in a checkpoint. 1, before 2026-11-23: with the optimizer's groups."""

PARAMETERS_FILE = "parameters.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
GENERATORS_FILE = "generators.safetensors"
STATE_FILE = "state.json"
TRAINER_STATE_FILE = "trainer_state.json"
"""Read by transformers on resume; plain JSON, with the number of the step and little else."""

REFUSED_FOLDER = "refused"

_REMOVING_SUFFIX = ".removing"

Written = TypeVar("Written")


def save(folder: Path, snapshot: Snapshot, facts: dict[str, Any]) -> Path:
    """Commit the snapshot under `folder`, with `facts` in its manifest; returns its directory.

    Raises:
        OSError: the disk is full or gone; nothing half written stays, older checkpoints do.
    """

    def write_files(partial: Path) -> dict[str, Any]:
        write_tensors(snapshot.parameters, partial / PARAMETERS_FILE)
        write_tensors(snapshot.optimizer, partial / OPTIMIZER_FILE)
        write_tensors(snapshot.generators, partial / GENERATORS_FILE)
        _write_json(snapshot.state, partial / STATE_FILE)
        _write_json(snapshot.trainer_state, partial / TRAINER_STATE_FILE)
        return {**facts, "step": snapshot.step, "format_version": FORMAT_VERSION}

    directory = folder / checkpoint_name(snapshot.step)
    manifest.commit(directory, write_files)
    return directory


# --- which one to begin with ------------------------------------------------------------------


def newest_valid(folders: Iterable[Path]) -> tuple[Path | None, list[tuple[Path, str]]]:
    """(the newest checkpoint that verifies, [(refused directory, why)]), newest folder first.

    A refused directory is moved aside, so that it is neither tried nor counted again.
    """
    refused: list[tuple[Path, str]] = []
    for directory in _candidates(folders):
        try:
            manifest.verify(directory)
        except (IntegrityError, OSError) as error:
            refused.append((_move_aside(directory, str(error)), str(error)))
            continue
        return directory, refused
    return None, refused


def find_referenced(root: AgentRoot, reference: CheckpointReference) -> Path:
    """The checkpoint of another job that `reference` names, whole. Nothing there is changed.

    Raises:
        CheckpointRejected: it is not on this host any more, or is damaged.
    """
    name = checkpoint_name(reference.step)
    roots = (root, root.of_sibling(reference.job_id))
    attempts = [a for each in roots for a in each.job(reference.job_id).attempts()]
    there = [attempt.checkpoints_path / name for attempt in attempts]
    what = f"the checkpoint of step {reference.step} of job {reference.job_id}"
    for directory in reversed(there):
        try:
            if manifest.manifest_sha256(directory) != reference.manifest_sha256:
                continue
            manifest.verify(directory)
            return directory
        except FileNotFoundError:
            continue
        except (IntegrityError, OSError) as error:
            raise CheckpointRejected(
                f"{what} is damaged: {error}. Resume from another one, or start a new job."
            ) from error
    raise CheckpointRejected(
        f"{what} (manifest {reference.manifest_sha256[:12]}...) is not on this host. "
        "Resume on the host where that job ran, or start a new job."
    )


# --- room -------------------------------------------------------------------------------------


def clear_leftovers(folders: Iterable[Path]) -> list[Path]:
    """Remove what kills have left half written or half removed; returns what it was."""
    cleared = []
    for folder in folders:
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            name, suffix = entry.stem, entry.suffix
            if checkpoint_step(name) is None:
                continue
            if suffix == manifest.REPLACED_SUFFIX and not (folder / name).exists():
                # The kill came between the two renames of a commit: this one is still whole.
                os.rename(entry, folder / name)
            elif suffix in (manifest.PARTIAL_SUFFIX, manifest.REPLACED_SUFFIX, _REMOVING_SUFFIX):
                shutil.rmtree(entry, ignore_errors=True)
                cleared.append(entry)
    return cleared


def prune(folders: Iterable[Path], keep: int) -> None:
    """Remove all but the newest `keep` committed checkpoints; the newest folder comes first."""
    for directory in list(_candidates(folders))[keep:]:
        # Renamed first: a kill in mid-removal must not leave a checkpoint that looks damaged.
        doomed = directory.with_name(directory.name + _REMOVING_SUFFIX)
        os.rename(directory, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def make_room(folders: Sequence[Path]) -> None:
    """Remove everything but the newest committed checkpoint; what was refused goes, too."""
    prune(folders, keep=1)
    for folder in folders:
        for entry in folder.glob(f"{REFUSED_FOLDER}/step-*"):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)


def with_room(folders: Sequence[Path], write: Callable[[], Written]) -> Written:
    """The result of `write`; on a full disk all but the newest checkpoint make room for it first.

    Raises:
        OSError: there is no room even so; the newest checkpoint still stands.
    """
    try:
        return write()
    except OSError as error:
        if not is_disk_full(error):
            raise
    make_room(folders)
    return write()


def _candidates(folders: Iterable[Path]) -> Iterator[Path]:
    """Checkpoint directories, folder by folder, the highest step of each first."""
    for folder in folders:
        if folder.is_dir():
            names = [entry.name for entry in folder.iterdir()]
            steps = [name for name in names if checkpoint_step(name) is not None]
            for name in sorted(steps, key=lambda item: checkpoint_step(item) or 0, reverse=True):
                yield folder / name


def _move_aside(directory: Path, reason: str) -> Path:
    """Into `refused/`, with the reason beside it."""
    refused = directory.parent / REFUSED_FOLDER
    refused.mkdir(exist_ok=True)
    destination = refused / directory.name
    shutil.rmtree(destination, ignore_errors=True)
    os.rename(directory, destination)
    note = {"reason": reason, "refused_at": utc_now().isoformat()}
    _write_json(note, refused / f"{directory.name}.json")
    return destination


def _write_json(value: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
