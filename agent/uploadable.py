"""The files of a job that may go up straight from its machine: the adapter and whole checkpoints.

As with `agent.artifacts`, only names that a manifest lists count, so a path from outside is
compared, never followed. All functions block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.artifacts import find_artifact, list_artifacts
from agent.run_directory import JobDirectory, checkpoint_step
from shared.agent_protocol import ArtifactFile
from shared.errors import IntegrityError
from shared.manifest import MANIFEST_NAME, file_sha256
from shared.upload.contract import UploadableFiles

_CHECKPOINTS = "checkpoints"


class Found(NamedTuple):
    """Where a listed file lies, and what it must be."""

    path: Path
    listed: ArtifactFile


def list_uploadable(job: JobDirectory) -> UploadableFiles:
    """The committed adapter, then the committed checkpoints; empty while there is neither."""
    return UploadableFiles(files=tuple(found.listed for found in _all(job)))


def find_uploadable(job: JobDirectory, path: str) -> Found:
    """The file behind a listed path.

    Raises:
        IntegrityError: the path is not in the list, or is no plain file any more.
    """
    for found in _all(job):
        if found.listed.path == path and found.path.is_file() and not found.path.is_symlink():
            return found
    raise IntegrityError(f"There is no file {path!r} to upload in job {job.job_id}.")


def _all(job: JobDirectory) -> Iterator[Found]:
    try:
        listed = list_artifacts(job).files
    except IntegrityError:
        listed = ()
    for file in listed:
        yield Found(find_artifact(job, file.path), file)
    for _, directory in sorted(_checkpoints(job).items()):
        yield from _checkpoint_files(directory)


def _checkpoints(job: JobDirectory) -> dict[int, Path]:
    """Committed ones by step; where two attempts have the same step, the later attempt's."""
    found = {}
    for attempt in job.attempts():
        if not attempt.checkpoints_path.is_dir():
            continue
        for directory in attempt.checkpoints_path.iterdir():
            step = checkpoint_step(directory.name)
            if step is not None and (directory / MANIFEST_NAME).is_file():
                found[step] = directory
    return found


def _checkpoint_files(directory: Path) -> Iterator[Found]:
    try:
        manifest = directory / MANIFEST_NAME
        described = json.loads(manifest.read_bytes())["files"]
        files = [
            ArtifactFile(path=f"{_CHECKPOINTS}/{directory.name}/{name}", **facts)
            for name, facts in sorted(described.items())
            if "/" not in name
        ]
        size_bytes, sha256 = manifest.stat().st_size, file_sha256(manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # removed while we looked, as older checkpoints are, or damaged
    path = f"{_CHECKPOINTS}/{directory.name}/{MANIFEST_NAME}"
    own = ArtifactFile(path=path, size_bytes=size_bytes, sha256=sha256)
    for file in (*files, own):
        yield Found(directory / file.path.rpartition("/")[2], file)
