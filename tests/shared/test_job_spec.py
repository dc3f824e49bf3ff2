from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.errors import InvalidDataset, InvalidHyperparameter, InvalidJobSpec
from shared.hyperparameters import Preset
from shared.job_spec import (
    DatasetReference,
    JobSpec,
    build_job_spec,
    is_job_id,
    load_job_file,
    new_job_id,
)

DATA = b'{"conversations": []}'
REFERENCE = DatasetReference(file_name="Train.JSON", sha256="a" * 64, size_bytes=10)


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json").write_bytes(DATA)
    return tmp_path / "first-job.toml"


def load(path: Path, text: str) -> tuple[JobSpec, Path]:
    path.write_text(text, encoding="utf-8")
    return load_job_file(path)


def test_a_job_file_becomes_a_whole_spec(job_file: Path) -> None:
    spec, dataset_path = load(
        job_file,
        """
        dataset = "data/train.json"
        job_id = "job-one"
        name = "The first"
        tags = ["a", "b"]
        preset = "aggressive"
        cut_targets = "train"

        [hyperparameters]
        lora_r = 64
        """,
    )
    assert (spec.job_id, spec.name, spec.tags) == ("job-one", "The first", ("a", "b"))
    assert (spec.preset, spec.cut_targets, spec.over_long) == (
        Preset.AGGRESSIVE,
        "train",
        "refuse",
    )
    assert (spec.hyperparameters.lora_r, spec.hyperparameters.num_epochs) == (64, 4)
    assert dataset_path.read_bytes() == DATA
    assert spec.dataset == DatasetReference(
        file_name="train.json", sha256=hashlib.sha256(DATA).hexdigest(), size_bytes=len(DATA)
    )


def test_the_dataset_stands_relative_to_the_job_file(
    job_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    _, dataset_path = load(job_file, 'dataset = "data/train.json"')
    assert dataset_path == job_file.parent / "data" / "train.json"


def test_an_absolute_dataset_path_stays(job_file: Path) -> None:
    path = job_file.parent / "data" / "train.json"
    assert load(job_file, f'dataset = "{path}"')[1] == path


def test_name_and_id_have_defaults(job_file: Path) -> None:
    spec, _ = load(job_file, 'dataset = "data/train.json"')
    assert spec.name == "first-job"
    assert is_job_id(spec.job_id)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("learning_rte = 1", r"learning_rte = 1: Extra inputs are not permitted"),
        ("max_restarts = 21", r"max_restarts = 21: .*less than or equal to 20"),
        ('name = "ab"', r"name = 'ab': .*at least 3 characters"),
        ('job_id = "../up"', r"job_id = '\.\./up': "),
        ('preset = "bold"', r"preset = 'bold' is unknown: choose conservative, balanced, aggr"),
        ('preset = ["balanced"]', r"preset = \['balanced'\] is unknown"),
        ("hyperparameters = 3", r"hyperparameters = 3 must be a table"),
        ('cut_targets = "keep"', r"cut_targets = 'keep': Input should be 'exclude' or 'train'"),
        ("a = = 1", r"is not valid TOML: Invalid value \(at line 2, column 5\)"),
        pytest.param(f"a = {'9' * 5000}", r"is not valid TOML: Exceeds", id="huge integer"),
        pytest.param(f"a = {'[' * 5000}", r"is not valid TOML: maximum rec", id="deep nesting"),
    ],
)
def test_a_wrong_line_is_named_with_the_file(job_file: Path, line: str, complaint: str) -> None:
    with pytest.raises(InvalidJobSpec, match=rf"first-job\.toml: {complaint}"):
        load(job_file, f'dataset = "data/train.json"\n{line}\n')


@pytest.mark.parametrize("line", ["", "dataset = 3", "[dataset]"])
def test_a_job_file_must_name_its_dataset(job_file: Path, line: str) -> None:
    with pytest.raises(InvalidJobSpec, match=r'needs a line `dataset = "FILE"`'):
        load(job_file, line)


def test_a_dataset_that_is_not_there_is_named(job_file: Path) -> None:
    with pytest.raises(InvalidDataset, match=r"none\.json: cannot be read \(No such file"):
        load(job_file, 'dataset = "none.json"')


def test_a_hyperparameter_out_of_range_is_named(job_file: Path) -> None:
    with pytest.raises(InvalidHyperparameter, match=r"^lora_r = 0 is out of range"):
        load(job_file, 'dataset = "data/train.json"\nhyperparameters.lora_r = 0')


def test_a_job_file_that_is_not_there_or_not_text_is_refused(job_file: Path) -> None:
    with pytest.raises(InvalidJobSpec, match="cannot be read"):
        load_job_file(job_file)
    job_file.write_bytes(b'dataset = "caf\xe9"')
    with pytest.raises(InvalidJobSpec, match="is not valid TOML"):
        load_job_file(job_file)


def test_a_spec_survives_json() -> None:
    spec = build_job_spec(REFERENCE, {"name": "a job", "tags": ["x"]}, where="test")
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.same_work_as(JobSpec.model_validate_json(spec.model_dump_json()))


def test_another_value_is_another_work() -> None:
    values = {"job_id": "job-one", "name": "a job"}
    one = build_job_spec(REFERENCE, values, where="test")
    other = build_job_spec(REFERENCE, {**values, "hyperparameters": {"seed": 43}}, where="test")
    assert not one.same_work_as(other)


@pytest.mark.parametrize(
    ("optim", "on_cuda", "optimizer"),
    [
        ("auto", True, "paged_adamw_8bit"),
        ("auto", False, "adamw_torch"),
        ("adamw_torch", True, "adamw_torch"),
        ("adamw_8bit", False, "adamw_8bit"),
    ],
)
def test_only_an_automatic_optimizer_depends_on_the_machine(
    optim: str, on_cuda: bool, optimizer: str
) -> None:
    spec = build_job_spec(REFERENCE, {"name": "a job", "optim": optim}, where="test")
    assert spec.optimizer(on_cuda=on_cuda) == optimizer


def test_a_host_keeps_the_bytes_under_their_hash() -> None:
    assert REFERENCE.stored_name == "a" * 64 + ".json"


# --- ids --------------------------------------------------------------------------------------


def test_ids_sort_by_time_and_differ_within_a_minute() -> None:
    moments = [datetime(2026, 11, 22, 15, minute, tzinfo=UTC) for minute in (9, 31, 31)]
    ids = [new_job_id(moment) for moment in moments]
    assert ids[0] < min(ids[1:])
    assert ids[1].startswith("20261122-1531-")
    assert len(set(ids)) == 3
    assert all(map(is_job_id, ids))


@pytest.mark.parametrize("text", ["", "ab", "-abc", "Abc", "a/b", "../abc", "abc\n", "a" * 64])
def test_what_cannot_stand_in_a_path_is_no_id(text: str) -> None:
    assert not is_job_id(text)


@pytest.mark.parametrize("text", ["abc", "0-1", "a" * 63])
def test_short_plain_names_are_ids(text: str) -> None:
    assert is_job_id(text)
