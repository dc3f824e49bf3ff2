"""Starts the demo: a small real training on this machine, with settings that show the loss fall."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.errors import InvalidDataset
from shared.job_spec import DatasetReference, JobSpec, build_job_spec
from shared.store.stored import StoredJob
from tui.demo import DemoOptions
from tui.services import jobs
from tui.services.inspection import inspect_file
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
    report = await asyncio.to_thread(
        inspect_file,
        options.file,
        base_model=spec.base_model,
        max_seq_length=spec.hyperparameters.max_seq_length,
    )
    if report.has_errors:
        worst = report.findings[0]
        raise InvalidDataset(
            f"{options.file}: {worst.message} {worst.advice} "
            "`brightrun dataset check` lists everything."
        )
    return (await jobs.start_job(session, options.file, spec, report)).job


def _build_spec(options: DemoOptions) -> JobSpec:
    values = {
        "name": f"demo on {options.model}",
        "base_model": options.model,
        "hyperparameters": _HYPERPARAMETERS.get(options.model, _SMALL_BATCH),
    }
    return build_job_spec(DatasetReference.of(options.file), values, where="demo")
