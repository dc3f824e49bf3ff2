"""Builds attempts of a short real job."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.run_directory import AgentRoot, AttemptDirectory, AttemptSpec
from shared.dataset.sample import SAMPLE_JSON
from shared.dataset.storage import store_dataset
from shared.job_spec import DatasetReference, build_job_spec

SHORT = {"batch_size": 1, "gradient_accumulation_steps": 2, "num_epochs": 1, "learning_rate": 5e-3}
"""Seven optimizer steps on the short file, each under a second."""


@pytest.fixture(autouse=True, scope="module")
def environment_stays() -> Iterator[None]:
    """A trainer inside the test's process keeps one GPU, which its successors must not inherit."""
    kept = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="session")
def models_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny model is built, once for all tests."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def short_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seven shortest conversations of the sample."""
    document = json.loads(SAMPLE_JSON.read_text(encoding="utf-8"))
    document["conversations"].sort(key=lambda item: len(json.dumps(item)))
    document["conversations"] = document["conversations"][:7]
    path = tmp_path_factory.mktemp("dataset") / "short.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


MakeAttempt = Callable[..., AttemptDirectory]


@pytest.fixture
def make_attempt(tmp_path: Path, models_directory: Path, short_dataset: Path) -> MakeAttempt:
    """`make_attempt(job_id, hyperparameters={...}, dataset=..., **spec)`: attempt 1, to be run."""
    return attempts_in(tmp_path, models_directory, short_dataset)


def attempts_in(folder: Path, models_directory: Path, short_dataset: Path) -> MakeAttempt:
    """What makes attempts below `folder`."""

    def make(
        job_id: str = "short-job",
        hyperparameters: dict[str, Any] | None = None,
        dataset: Path = short_dataset,
        **values: Any,
    ) -> AttemptDirectory:
        root = AgentRoot(folder)
        reference = DatasetReference.of(dataset)
        stored = store_dataset(dataset, root.datasets_path, reference)
        job = build_job_spec(
            reference,
            {
                "job_id": job_id,
                "name": "a short job",
                "checkpoint_interval_steps": 1,
                "hyperparameters": {**SHORT, **(hyperparameters or {})},
                **values,
            },
            where="test",
        )
        attempt = root.job(job_id).attempt(1)
        attempt.path.mkdir(parents=True)
        spec = AttemptSpec(
            job=job, attempt=1, dataset_path=stored, models_directory=models_directory
        )
        attempt.spec_path.write_text(spec.model_dump_json(), encoding="utf-8")
        return attempt

    return make


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, models_directory: Path, short_dataset: Path
) -> AttemptDirectory:
    """An attempt with its adapter, not yet verified; for reading only."""
    from tests.agent.trainer.in_process import train_here

    make = attempts_in(tmp_path_factory.mktemp("trained"), models_directory, short_dataset)
    attempt = make("trained-job")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Inside transformers and peft, about each other.
        assert train_here(attempt, patch) is None
    return attempt
