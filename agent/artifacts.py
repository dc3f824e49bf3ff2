"""The files of a job's adapter that may be fetched: those its manifest names, and the manifest.

Only listed names are served, so a path from outside is compared, never followed. All functions
block.
"""

from __future__ import annotations

import json
from pathlib import Path

from agent.run_directory import AttemptDirectory, JobDirectory
from shared.agent_protocol import ArtifactFile, ArtifactList
from shared.errors import IntegrityError
from shared.manifest import MANIFEST_NAME, file_sha256


def list_artifacts(job: JobDirectory) -> ArtifactList:
    """The committed adapter of the latest attempt that has one.

    Raises:
        IntegrityError: there is none yet.
    """
    attempt = _attempt_with_adapter(job)
    folder = attempt.adapter_path
    manifest_path = folder / MANIFEST_NAME
    described = json.loads(manifest_path.read_bytes())["files"]
    files = [
        ArtifactFile(path=f"{folder.name}/{name}", **facts)
        for name, facts in sorted(described.items())
    ]
    manifest = ArtifactFile(
        path=f"{folder.name}/{MANIFEST_NAME}",
        size_bytes=manifest_path.stat().st_size,
        sha256=file_sha256(manifest_path),
    )
    return ArtifactList(attempt=attempt.number, files=(*files, manifest))


def find_artifact(job: JobDirectory, path: str) -> Path:
    """The file behind a listed path.

    Raises:
        IntegrityError: the path is not in the list, or there is no adapter yet.
    """
    attempt = _attempt_with_adapter(job)
    folder = attempt.adapter_path
    listed = {artifact.path for artifact in list_artifacts(job).files}
    found = attempt.path / path
    # The manifest is the trainer's word; what it names must still be a plain file in there.
    if path not in listed or found.parent != folder or found.is_symlink() or not found.is_file():
        raise IntegrityError(f"There is no artifact {path!r} in job {job.job_id}.")
    return found


def _attempt_with_adapter(job: JobDirectory) -> AttemptDirectory:
    for attempt in reversed(job.attempts()):
        if (attempt.adapter_path / MANIFEST_NAME).is_file():
            return attempt
    raise IntegrityError(f"Job {job.job_id} has no adapter yet.")
