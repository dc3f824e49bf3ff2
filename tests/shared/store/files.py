"""Rows of the registry of training files, made up."""

from __future__ import annotations

from typing import Any

from shared.job_spec import DatasetReference
from shared.store.stored import StoredFile
from tests.shared.store.journal import BEGIN


def stored_file(letter: str = "a", **values: Any) -> StoredFile:
    """A file whose hash is this letter, 64 times."""
    made = {
        "sha256": letter * 64,
        "name": "train.json",
        "path": "/data/train.json",
        "size_bytes": 10,
        "conversations": 3,
        "turns": 12,
        "trained_targets": 5,
        "tokens": 900,
        "errors": 0,
        "warnings": 1,
        "checked_at": BEGIN,
    }
    return StoredFile(**{**made, **values})


def reference(letter: str) -> DatasetReference:
    """What a job's spec says of that file."""
    return DatasetReference(file_name="train.json", sha256=letter * 64, size_bytes=10)
