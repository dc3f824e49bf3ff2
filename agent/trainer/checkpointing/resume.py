"""Where an attempt begins: at the newest checkpoint that is whole and of the same run.

Looks in this attempt, in the earlier ones, and last at the checkpoint of another job that the job
asks to begin with. Puts nothing back; see `agent.trainer.checkpointing.restore`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.run_directory import AttemptDirectory, checkpoint_step
from agent.trainer.checkpointing import checkpoints
from agent.trainer.checkpointing.checkpoint_disk import Observer
from agent.trainer.checkpointing.fingerprint import differences, require_same_run
from shared import events, manifest
from shared.errors import CheckpointRejected
from shared.job_spec import JobSpec


def find_checkpoint(
    directory: AttemptDirectory,
    job: JobSpec,
    facts: dict[str, Any],
    total_steps: int,
    observer: Observer,
) -> Path | None:
    """The checkpoint to go on from; None: from the base model. `facts` are this run's own.

    Raises:
        CheckpointRejected: it is of another run, or the one that was asked for cannot be had.
    """
    folders = checkpoint_folders(directory)
    cleared = checkpoints.clear_leftovers(folders)
    if cleared:
        names = ", ".join(f"{path.name} of attempt {path.parts[-3]}" for path in cleared)
        message = f"removed what was half written when the trainer was killed: {names}"
        observer.write(events.LogLine(message=message))
    found, refused = checkpoints.newest_valid(folders)
    for path, reason in refused:
        observer.write(events.CheckpointRefused(path=str(path), reason=reason))
    if found is None and job.resume_from is not None:
        found = checkpoints.find_referenced(directory.root, job.resume_from)
    if found is not None:
        _require_fit(found, job, facts, total_steps, observer)
    return found


def checkpoint_folders(directory: AttemptDirectory) -> list[Path]:
    """Where the job's checkpoints lie, the newest attempt's first."""
    return [attempt.checkpoints_path for attempt in (directory, *directory.earlier())]


def _require_fit(
    found: Path, job: JobSpec, facts: dict[str, Any], total_steps: int, observer: Observer
) -> None:
    there = json.loads((found / manifest.MANIFEST_NAME).read_text(encoding="utf-8"))
    warning = require_same_run(
        found, there.get("fingerprint"), facts["fingerprint"], force=job.force_resume
    )
    step = checkpoint_step(found.name) or 0
    if step > total_steps:
        raise CheckpointRejected(
            f"{found}: is of step {step}, and this run has {total_steps}. "
            "Give it more epochs, or start a new job."
        )
    rounding = differences(there.get("conditions", {}), facts["conditions"])
    if rounding and not warning:
        warning = f"{found}: goes on, but not bit for bit: {'; '.join(rounding)}"
    if warning:
        observer.write(events.LogLine(level="warning", message=warning))
