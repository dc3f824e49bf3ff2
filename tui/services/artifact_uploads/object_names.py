"""What each file is in the bucket: its object's name, its type, its content type. Pure.

    jobs/<web job id>/<16 digits of a sha256>/<file name>

The digits are of the manifest where the file lies in a directory that has one, so that the whole
directory is one folder; else of the file. Either way a name stands for one content, and is never
used again for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from shared.errors import IntegrityError
from shared.store.uploads import ArtifactType, PlannedUpload

_DIGITS = 16
_LONGEST_NAME = 150
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
"""Less than Supabase Storage allows; more than any file of ours needs."""

_MAIN_FILES: dict[ArtifactType, tuple[str, ...]] = {
    ArtifactType.LORA_ADAPTER: ("adapter_model.safetensors",),
    ArtifactType.CHECKPOINT: ("parameters.safetensors", "adapter_model.safetensors"),
    ArtifactType.MERGED_MODEL: ("model.safetensors.index.json", "model.safetensors"),
}
"""The one file of a directory that stands for it in `model_artifacts`: the first that is there."""

_CONTENT_TYPES = {
    ".json": "application/json",
    ".jinja": "text/plain",
    ".md": "text/markdown",
    ".svg": "image/svg+xml",
    ".log": "text/plain",
    ".txt": "text/plain",
    ".csv": "text/csv",
}


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that is to go up, wherever it lies."""

    name: str
    sha256: str
    size_bytes: int
    source: str
    """As `PlannedUpload.source`."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose files they are."""

    job_id: str
    web_id: str
    attempt: int


def plan_folder(
    owner: Owner, kind: ArtifactType, manifest_sha256: str, files: Iterable[FoundFile]
) -> list[PlannedUpload]:
    """A directory with a manifest: one of its files stands for it, the others lie beside.

    Raises:
        IntegrityError: a name that no file of ours has, or none that could stand for it.
    """
    found = list(files)
    names = {file.name for file in found}
    main = next((name for name in _MAIN_FILES[kind] if name in names), None)
    if main is None:
        raise IntegrityError(
            f"{owner.job_id}: a {kind} without any of {', '.join(_MAIN_FILES[kind])}."
        )
    # The file that stands for the directory goes last: what is recorded then is complete.
    ordered = sorted(found, key=lambda file: (file.name == main, file.name))
    return [
        _planned(owner, kind if file.name == main else ArtifactType.FILE, manifest_sha256, file)
        for file in ordered
    ]


def plan_file(owner: Owner, file: FoundFile) -> PlannedUpload:
    """A file that belongs to the job alone."""
    return _planned(owner, ArtifactType.FILE, file.sha256, file)


def folder_of(web_id: str, sha256: str) -> str:
    """Where the objects of a directory with this manifest lie."""
    return f"jobs/{web_id}/{sha256[:_DIGITS]}"


def content_type(name: str) -> str:
    """By the file's suffix."""
    return _CONTENT_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")


def _planned(owner: Owner, kind: ArtifactType, sha256: str, file: FoundFile) -> PlannedUpload:
    if _FILE_NAME.fullmatch(file.name) is None or len(file.name) > _LONGEST_NAME:
        raise IntegrityError(f"{owner.job_id}: {file.name!r} is no name of a file of ours.")
    return PlannedUpload(
        object_name=f"{folder_of(owner.web_id, sha256)}/{file.name}",
        training_job_id=owner.job_id,
        attempt=owner.attempt,
        artifact_type=kind,
        file_name=file.name,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        content_type=content_type(file.name),
        source=file.source,
    )
