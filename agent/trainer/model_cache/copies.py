"""The copies below a models directory: what there is, whether it holds, and what may go.

It makes none, and needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.trainer.model_cache.ownership import SILENCE_LIMIT_S, read_owner
from shared.errors import IntegrityError
from shared.manifest import MANIFEST_NAME, file_sha256
from shared.model_cache import (
    PROGRESS_FILE,
    QUANTIZATION,
    CachedModel,
    CacheFacts,
    CachePlace,
    Pruned,
    model_folder,
)

MOST_THREADS = 8
"""Hashing keeps a core at work; a network volume answers several readers sooner than one."""


def places(models: Path, base_model: str | None = None) -> Iterator[CachePlace]:
    """Where copies lie or have begun, in the order of their names."""
    pattern = "*" if base_model is None else model_folder(base_model)
    found = {path.parent for path in models.glob(f"{pattern}/*/{QUANTIZATION}*") if path.is_dir()}
    for folder in sorted(found):
        # The folder's name stands for the model; which one exactly, its facts say.
        yield CachePlace(models, folder.parent.name, folder.name)


def list_copies(models: Path, base_model: str | None = None) -> list[CachedModel]:
    """What there is; nothing is hashed."""
    return [describe(place) for place in places(models, base_model)]


def describe(place: CachePlace) -> CachedModel:
    """One entry, complete or not."""
    facts, trouble = None, ""
    if place.copy.is_dir():
        try:
            facts = read_facts(place.copy / MANIFEST_NAME)
            _require_files(place.copy)
        except IntegrityError as error:
            trouble = str(error)
    else:
        trouble = "is not complete"
        with contextlib.suppress(IntegrityError):  # None yet, or damaged: it is begun anew.
            facts = read_facts(place.partial / PROGRESS_FILE)
    if trouble and is_owned(place):
        trouble = "is being filled now"
    return CachedModel(
        base_model=place.base_model if facts is None else facts.base_model,
        revision=place.commit,
        requested_revision=None if facts is None else facts.requested_revision,
        path=str(place.copy if place.copy.is_dir() else place.partial),
        size_bytes=_size(place.copy) + _size(place.partial),
        created_at=None if facts is None else facts.created_at,
        last_used_at=_touched(place.used),
        is_complete=not trouble,
        trouble=trouble,
    )


def read_facts(path: Path) -> CacheFacts:
    """What a manifest or a `progress.json` says.

    Raises:
        IntegrityError: it is not there, or says nothing.
    """
    try:
        return CacheFacts.model_validate_json(path.read_bytes())
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise IntegrityError(f"{path}: is damaged") from error


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest, with the hash of every file.

    Raises:
        IntegrityError: it is not there, or damaged.
    """
    read_facts(directory / MANIFEST_NAME)
    try:
        manifest: dict[str, Any] = json.loads((directory / MANIFEST_NAME).read_bytes())
        for entry in manifest["files"].values():
            int(entry["size_bytes"]), str(entry["sha256"])
        return manifest
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{directory / MANIFEST_NAME}: is damaged") from error


def damaged_files(
    directory: Path,
    files: dict[str, dict[str, Any]],
    told: Callable[[int], None] = lambda size: None,
    works_on: Callable[[str], None] = lambda name: None,
) -> list[str]:
    """Names of the files that are not as their manifest has them; several are hashed at a time.

    A network volume sets the pace: 39.5 GB take 40 s at 1 GB/s, and are then in the page cache for
    the load that follows.
    """

    def is_damaged(name: str) -> bool:
        path, entry = directory / name, files[name]
        works_on(name)
        try:
            if path.stat().st_size != entry["size_bytes"]:
                return True
            is_other = file_sha256(path) != entry["sha256"]
        except OSError:
            return True
        told(entry["size_bytes"])
        return is_other

    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        return [name for name, bad in zip(files, pool.map(is_damaged, files), strict=True) if bad]


def touch_used(place: CachePlace) -> None:
    """Note that the copy is used now; a volume that refuses it changes nothing."""
    with contextlib.suppress(OSError):
        place.used.touch()


def is_owned(place: CachePlace) -> bool:
    """True if somebody fills the copy now, as far as can be told at once."""
    owner = read_owner(place.owner)
    if owner is None or owner.is_dead:
        return False
    beat_at = _touched(place.owner)
    return beat_at is not None and datetime.now(UTC) - beat_at < timedelta(seconds=SILENCE_LIMIT_S)


def prune(
    models: Path,
    base_model: str | None = None,
    *,
    revision: str | None = None,
    older_than_days: float | None = None,
    only_incomplete: bool = False,
    dry_run: bool = False,
) -> Iterator[Pruned]:
    """Remove copies, one after the other; one that is being filled now stays."""
    for place in list(places(models, base_model)):
        entry = describe(place)
        if (
            is_owned(place)
            or (revision is not None and entry.revision != revision)
            or (only_incomplete and entry.is_complete)
            or (older_than_days is not None and _age_days(entry, place) < older_than_days)
        ):
            continue
        if not dry_run:
            remove(place)
        yield Pruned(model=entry, freed_bytes=entry.size_bytes, is_removed=not dry_run)


def remove(place: CachePlace) -> None:
    """Remove a copy and all that belongs to it. A kill on the way leaves nothing that counts."""
    with contextlib.suppress(FileNotFoundError):
        (place.copy / MANIFEST_NAME).unlink()
    shutil.rmtree(place.folder)
    with contextlib.suppress(OSError):  # Another commit of the model lies there.
        place.folder.parent.rmdir()


def _require_files(directory: Path) -> None:
    files = read_manifest(directory)["files"]
    for name, entry in files.items():
        path = directory / name
        if not path.is_file() or path.stat().st_size != entry["size_bytes"]:
            raise IntegrityError(f"{name} is missing or not as long as it should be")


def _age_days(entry: CachedModel, place: CachePlace) -> float:
    last = entry.last_used_at or entry.created_at
    seconds = time.time() - (last.timestamp() if last else place.folder.stat().st_mtime)
    return seconds / 86_400


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # Somebody fills it now.
            total += path.stat().st_size if path.is_file() else 0
    return total


def _touched(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
