"""A checkpoint of another run is refused with what differs, line by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.run_directory import AttemptSpec
from agent.trainer.batches import Example, TrainingData
from agent.trainer.checkpointing.fingerprint import (
    Fingerprint,
    differences,
    fingerprint_of,
    model_files_sha256,
    require_same_run,
)
from agent.trainer.models.base_model import BaseModelLocation
from shared.dataset.step_plan import Step
from shared.errors import CheckpointRejected
from shared.job_spec import DatasetReference, build_job_spec

DIRECTORY = Path("/jobs/1/step-00000004")
VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0"}


def example(conversation_id: str, *ids: int) -> Example:
    return Example(conversation_id, list(ids), list(ids), 1, ())


DATA = TrainingData(
    [example("a", 1, 2), example("b", 3)],
    [example("c", 4)],
    [Step((0,), 0.5), Step((1,), 1.0)],
    (),
)


@pytest.fixture
def spec(tmp_path: Path) -> AttemptSpec:
    dataset = DatasetReference(file_name="a.json", sha256="a" * 64, size_bytes=1)
    job = build_job_spec(dataset, {"job_id": "a-job", "name": "a job"}, where="test")
    return AttemptSpec(job=job, attempt=1, dataset_path=tmp_path, models_directory=tmp_path)


def with_job(spec: AttemptSpec, **values: Any) -> AttemptSpec:
    return spec.model_copy(update={"job": spec.job.model_copy(update=values)})


def fingerprint(spec: AttemptSpec, data: TrainingData = DATA, **values: Any) -> Fingerprint:
    given: dict[str, Any] = {
        "tokenizer_json": "{}",
        "chat_template": "{{ messages }}",
        "optim": "adamw_torch",
        "versions": VERSIONS,
        **values,
    }
    return fingerprint_of(spec, data, BaseModelLocation("a/model-of-the-hub", None), **given)


CHANGES: dict[str, Callable[[AttemptSpec], Fingerprint]] = {
    "dataset_sha256: aaaaaaaaaaaa... there, bbbbbbbbbbbb... here": lambda spec: fingerprint(
        with_job(spec, dataset=spec.job.dataset.model_copy(update={"sha256": "b" * 64}))
    ),
    "base_model: tiny there, smollm2 here": lambda spec: fingerprint(
        with_job(spec, base_model="smollm2")
    ),
    "base_model_revision: none there, main here": lambda spec: fingerprint(
        with_job(spec, base_model_revision="main")
    ),
    "tokenizer_sha256: ": lambda spec: fingerprint(spec, tokenizer_json="{'added': 1}"),
    "chat_template_sha256: ": lambda spec: fingerprint(spec, chat_template="{{ date }}"),
    "hyperparameters.lora_r: 16 there, 8 here": lambda spec: fingerprint(
        with_job(spec, hyperparameters=spec.job.hyperparameters.model_copy(update={"lora_r": 8}))
    ),
    "cut_targets: exclude there, train here": lambda spec: fingerprint(
        with_job(spec, cut_targets="train")
    ),
    "optim: adamw_torch there, adamw_8bit here": lambda spec: fingerprint(spec, optim="adamw_8bit"),
    "versions.transformers: 5.23.0 there, 5.24.0 here": lambda spec: fingerprint(
        spec, versions={**VERSIONS, "transformers": "5.24.0"}
    ),
    "held_out_sha256: ": lambda spec: fingerprint(spec, replace(DATA, held_out=[])),
    "steps_sha256: ": lambda spec: fingerprint(spec, replace(DATA, steps=DATA.steps[::-1])),
}


@pytest.mark.parametrize("line", CHANGES)
def test_each_change_is_refused_and_named(spec: AttemptSpec, line: str) -> None:
    there, here = fingerprint(spec), CHANGES[line](spec)
    (found,) = differences(there, here)
    assert found.startswith(line)
    with pytest.raises(CheckpointRejected, match="belongs to another run") as caught:
        require_same_run(DIRECTORY, there, here, force=False)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{DIRECTORY} belongs to another run:"
    assert lines[1] == f"  {found}"
    assert "brightrun resume JOB --force" in lines[2]


def test_other_ids_or_labels_of_the_same_conversations_are_another_plan(spec: AttemptSpec) -> None:
    changed = replace(DATA.train[1], labels=[-100])
    other = replace(DATA, train=[DATA.train[0], changed])
    assert differences(fingerprint(spec), fingerprint(spec, other))[0].startswith("steps_sha256")


@pytest.mark.parametrize(
    "values",
    [
        {"num_gpus": 4},
        {"job_id": "another-job"},
        {"attention": "sdpa"},
        {"pack_tokens": 4096},
        {"checkpoints_kept": 1},
        {"force_resume": True},
        {"max_restarts": 0},
    ],
)
def test_what_does_not_decide_the_result_does_not_matter(
    spec: AttemptSpec, values: dict[str, Any]
) -> None:
    assert fingerprint(with_job(spec, **values)) == fingerprint(spec)


def test_with_force_the_difference_is_a_warning(spec: AttemptSpec) -> None:
    there, here = fingerprint(spec), fingerprint(spec, optim="adamw_8bit")
    warning = require_same_run(DIRECTORY, there, here, force=True)
    assert warning.splitlines()[1] == "  optim: adamw_torch there, adamw_8bit here"
    assert require_same_run(DIRECTORY, there, there, force=True) == ""


@pytest.mark.parametrize("stated", [None, [], "text", {}])
def test_a_checkpoint_without_a_fingerprint_is_of_another_run(
    spec: AttemptSpec, stated: object
) -> None:
    with pytest.raises(CheckpointRejected, match="base_model: none there, tiny here"):
        require_same_run(DIRECTORY, stated, fingerprint(spec), force=False)


def test_weights_and_configuration_of_a_local_model_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    before = model_files_sha256(tmp_path)
    (tmp_path / "README.md").write_text("of no matter")
    assert model_files_sha256(tmp_path) == before
    weights.write_bytes(b"wEights")
    assert model_files_sha256(tmp_path) != before
    assert model_files_sha256(tmp_path / "model-of-the-hub") is None
