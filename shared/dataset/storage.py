"""Puts a training file where a host keeps it, named by its content. Blocks."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from shared.errors import DatasetChanged, InvalidDataset
from shared.job_spec import DatasetReference
from shared.manifest import file_sha256, sync_directory

_CHUNK_BYTES = 2**20


def store_dataset(source: Path, folder: Path, dataset: DatasetReference) -> Path:
    """Copy the file into `folder` unless it is there; returns where it lies.

    Only this user can read the copy, and it has its name only once every byte is on the disk.

    Raises:
        DatasetChanged: the file is not the one that was checked.
        InvalidDataset: it cannot be copied.
    """
    target = folder / dataset.stored_name
    part = folder / f".{dataset.stored_name}.{os.getpid()}.part"
    try:
        for directory in (folder.parent, folder):  # `mode` holds for the last name only
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if target.exists() and file_sha256(target) == dataset.sha256:
            return target
        try:
            if _copy_hashed(source, part) != dataset.sha256:
                raise DatasetChanged(
                    f"{source}: has changed since it was checked; start again with it as it is."
                )
            os.replace(part, target)
            sync_directory(folder)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidDataset(
            f"{source}: cannot be copied to {folder} ({error.strerror})."
        ) from error
    return target


def _copy_hashed(source: Path, target: Path) -> str:
    """Copy to a file that only this user reads; returns the SHA-256 of what was written."""
    digest = hashlib.sha256()
    target.unlink(missing_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()
