from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidHyperparameter, InvalidJobSpec
from shared.hyperparameters import Hyperparameters
from shared.job_options import (
    JOB_OPTIONS,
    changed_settings,
    changed_spec,
    option_range,
    option_value,
    parse_setting,
    read_settings,
    retried_spec,
    setting_of,
    setting_text,
    unusual_options,
)
from shared.job_spec import CheckpointReference, JobSpec
from tests.shared.store.journal import job_spec

CHECKPOINT = CheckpointReference(job_id="job-zero", step=40, manifest_sha256="c" * 64)
NEITHER = {"job_id", "name", "notes", "tags", "dataset", "base_model", "base_model_revision"}


def test_every_field_of_the_spec_is_an_option_or_has_a_place_of_its_own() -> None:
    others = NEITHER | {"preset", "hyperparameters"}
    assert set(JobSpec.model_fields) - others == set(JOB_OPTIONS)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num_gpus", "2", 2),
        ("early_stopping_patience", "3", 3),
        ("early_stopping_patience", "none", None),
        ("checkpoint_interval_steps", "None", None),
        ("attention", "sdpa", "sdpa"),
        ("disk_floor_bytes", "0", 0),
        ("dry_run", "yes", True),
        ("dry_run", "false", False),
        ("resume_from", "none", None),
    ],
)
def test_an_option_is_read_as_its_type(name: str, text: str, value: Any) -> None:
    assert option_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("num_gpus", "0", "a whole number at least 1, at most 64. Replicas"),
        ("num_gpus", "none", "a whole number at least 1, at most 64"),
        ("pack_tokens", "12.5", "a whole number at least 256, at most 131072"),
        ("max_restarts", "21", "at most 20"),
        ("early_stopping_patience", "0", "a whole number at least 1, at most 100 or none"),
        ("optim", "sgd", "one of auto, adamw_torch, adamw_8bit, paged_adamw_8bit"),
        ("dry_run", "perhaps", "true or false"),
        ("resume_from", "job-zero", "must be none"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_its_range_and_what_it_is_for(
    name: str, text: str, allowed: str
) -> None:
    with pytest.raises(InvalidJobSpec) as refused:
        option_value(name, text)
    message = str(refused.value)
    assert message.startswith(f"{name} = {text!r} is out of range: it must be ")
    assert allowed in message
    assert message.endswith(JOB_OPTIONS[name])


@pytest.mark.parametrize("name", JOB_OPTIONS)
def test_every_option_has_a_range_a_purpose_and_a_usual_value_that_reads_back(name: str) -> None:
    assert JOB_OPTIONS[name].endswith(".")
    assert option_range(name)
    usual = JobSpec.model_fields[name].default
    assert option_value(name, setting_text(usual)) == usual


def test_a_name_that_is_none_is_refused_with_all_there_are() -> None:
    with pytest.raises(InvalidJobSpec, match=r"^--set warmth: there is no such setting") as refused:
        read_settings({"warmth": "1"})
    for name in (*Hyperparameters.model_fields, *JOB_OPTIONS):
        assert name in str(refused.value)


def test_hyperparameters_and_options_go_to_their_places() -> None:
    settings = dict(map(parse_setting, ["learning_rate = 1e-4", "num_gpus=2", "lora_r=8"]))
    assert read_settings(settings) == {
        "num_gpus": 2,
        "hyperparameters": {"learning_rate": "1e-4", "lora_r": "8"},
    }
    with pytest.raises(InvalidJobSpec, match="write NAME=VALUE"):
        parse_setting("learning_rate")


def test_a_changed_spec_differs_in_what_was_changed_alone() -> None:
    before = job_spec(hyperparameters={"lora_r": 8}, checkpoints_kept=5, resume_from=CHECKPOINT)
    after = changed_spec(before, {"learning_rate": "1e-4", "num_gpus": 2, "resume_from": None})
    assert changed_settings(before, after) == [
        ("learning_rate", "0.0002", "0.0001"),
        ("num_gpus", "1", "2"),
        ("resume_from", "step 40 of job-zero", "none"),
    ]
    assert (after.hyperparameters.lora_r, after.checkpoints_kept) == (8, 5)
    assert changed_spec(before, {}) == before


def test_a_retry_with_other_hyperparameters_leaves_the_checkpoint_that_does_not_fit_them() -> None:
    spec = job_spec(resume_from=CHECKPOINT)
    assert retried_spec(spec, {"num_gpus": 2}).resume_from == CHECKPOINT
    assert retried_spec(spec, {"learning_rate": 2e-4}).resume_from == CHECKPOINT
    assert retried_spec(spec, {"learning_rate": 1e-4}).resume_from is None
    assert retried_spec(spec, {"over_long": "exclude"}).resume_from is None
    forced = {"learning_rate": 1e-4, "force_resume": True}
    assert retried_spec(spec, forced).resume_from == CHECKPOINT
    assert retried_spec(spec, {"lora_r": 8, "resume_from": CHECKPOINT}).resume_from == CHECKPOINT


def test_a_change_out_of_its_range_is_named() -> None:
    with pytest.raises(InvalidHyperparameter, match=r"^lora_r = 0 is out of range"):
        changed_spec(job_spec(), {"lora_r": 0})
    with pytest.raises(InvalidJobSpec, match=r"^num_gpus = 99 is out of range.*at most 64"):
        changed_spec(job_spec(), {"num_gpus": 99})


def test_only_options_that_are_not_as_usual_are_told() -> None:
    assert unusual_options(job_spec()) == []
    spec = job_spec(num_gpus=2, early_stopping_patience=1, over_long="exclude")
    assert unusual_options(spec) == [
        ("over_long", "exclude"),
        ("num_gpus", "2"),
        ("early_stopping_patience", "1"),
    ]
    assert setting_of(spec, "lora_r") == 16
