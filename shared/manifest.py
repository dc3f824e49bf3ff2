"""A directory that counts only when its manifest, written last, is there and its hashes hold.

Used for checkpoints and for adapters. `commit` is safe to kill at any moment: the directory appears
under its final name in one rename, after every byte has been synced.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared.errors import IntegrityError

MANIFEST_NAME = "manifest.json"
PARTIAL_SUFFIX = ".partial"
REPLACED_SUFFIX = ".replaced"


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit(directory: Path, write_files: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Create `directory` by letting `write_files` fill a partial one, then renaming it.

    `write_files` gets the partial directory and returns facts for the manifest. A directory that
    is already there is replaced only after the new one is complete. Returns the manifest.
    """
    partial = directory.with_name(directory.name + PARTIAL_SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        facts = write_files(partial)
        manifest = {**facts, "files": _describe_files(partial)}
        _write_synced(partial / MANIFEST_NAME, json.dumps(manifest, indent=2, sort_keys=True))
        sync_directory(partial)
    except BaseException:
        # A full disk must not stay full of what could not be committed.
        shutil.rmtree(partial, ignore_errors=True)
        raise
    replaced = directory.with_name(directory.name + REPLACED_SUFFIX)
    if directory.exists():
        # Renamed first: a kill in mid-removal must not leave a directory that looks damaged.
        shutil.rmtree(replaced, ignore_errors=True)
        os.rename(directory, replaced)
    os.rename(partial, directory)
    sync_directory(directory.parent)
    shutil.rmtree(replaced, ignore_errors=True)
    return manifest


def verify(directory: Path) -> dict[str, Any]:
    """The manifest of `directory`, once every file in it has the recorded size and hash.

    Raises:
        IntegrityError: no manifest, or a file that is missing, extra or different.
    """
    path = directory / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = {
            name: (entry["size_bytes"], entry["sha256"])
            for name, entry in manifest["files"].items()
        }
    except OSError as error:
        raise IntegrityError(f"{directory}: no readable {MANIFEST_NAME}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path}: is not a manifest ({error!r})") from error
    found = {entry.name for entry in directory.iterdir()} - {MANIFEST_NAME}
    if found != set(files):
        odd = ", ".join(sorted(found ^ set(files)))
        raise IntegrityError(f"{directory}: files do not match the manifest: {odd}")
    for name, (size_bytes, sha256) in files.items():
        _verify_file(directory / name, size_bytes, sha256)
    return dict(manifest)


def manifest_sha256(directory: Path) -> str:
    """Hash that names the directory's whole content, since the manifest holds all hashes."""
    return file_sha256(directory / MANIFEST_NAME)


def sync_directory(directory: Path) -> None:
    """Make renames and new names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, text: str) -> None:
    """Replace the file at `path` in one step; a reader sees the old text or the new one."""
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        _write_synced(partial, text)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)


def _describe_files(directory: Path) -> dict[str, dict[str, Any]]:
    """Sync and hash every file; the disk and the processor work at the same time."""
    paths = sorted(directory.iterdir())
    with ThreadPoolExecutor(max_workers=2) as pool:
        synced = [pool.submit(_sync_file, path) for path in paths]
        described = {
            path.name: {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
            for path in paths
        }
        for sync in synced:
            sync.result()
    return described


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _verify_file(path: Path, size_bytes: int, sha256: str) -> None:
    found = path.stat().st_size
    if found != size_bytes:
        raise IntegrityError(f"{path}: is {found} bytes, the manifest says {size_bytes}")
    if file_sha256(path) != sha256:
        raise IntegrityError(f"{path}: its content does not match the manifest's sha256")


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
