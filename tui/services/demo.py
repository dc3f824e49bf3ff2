"""Starts the demo: a small real training on this machine, with settings that show the loss fall."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from shared.errors import InvalidDataset
from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.store.stored import StoredJob
from tui.demo import DemoOptions
from tui.services import jobs
from tui.services.dataset_check import CheckedFile, check_training_file, settings_of
from tui.services.inspection import encoder_of
from tui.services.session import Session

# A small batch gives a short file enough steps to see the loss fall.
_SMALL_BATCH = {"batch_size": 1, "gradient_accumulation_steps": 4}
_HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    # A model of random weights learns nothing at the rate that suits Llama 3 70B.
    "tiny": {**_SMALL_BATCH, "learning_rate": 5e-3},
    "smollm2": {**_SMALL_BATCH, "num_epochs": 1},
}


async def start_demo(session: Session, options: DemoOptions) -> StoredJob:
    """Check the file and start.

    Raises:
        InvalidInput: a file that cannot be trained.
        AgentUnreachable, AgentRefused: this machine's agent did not take it.
    """
    spec = await asyncio.to_thread(_build_spec, options)
    checked = await asyncio.to_thread(_check, options.file, spec)
    if checked.report.has_errors:
        worst = checked.report.findings[0]
        raise InvalidDataset(
            f"{options.file}: {worst.message} {worst.advice} "
            "`brightrun dataset check` lists everything."
        )
    return (await jobs.start_job(session, options.file, spec, checked.report)).job


def _check(path: Path, spec: JobSpec) -> CheckedFile:
    return check_training_file(path, settings_of(spec), encoder_of(spec.base_model))


def _build_spec(options: DemoOptions) -> JobSpec:
    values = {
        "name": f"demo on {options.model}",
        "base_model": options.model,
        "hyperparameters": _HYPERPARAMETERS.get(options.model, _SMALL_BATCH),
    }
    return build_job_spec(DatasetReference.of(options.file), values, where="demo")
