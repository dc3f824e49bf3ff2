"""What was typed for a new job: judged value by value, never lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.hyperparameters import PRESETS, Hyperparameters, Preset, allowed_range, help_line
from shared.job_spec import CheckpointReference, JobSpec, build_job_spec
from shared.job_state import JobState
from shared.store.stored import StoredJob
from tests.shared.store.journal import BEGIN, job_spec
from tui.views.field_help import field_help
from tui.views.job_draft import JobDraft, preset_text, short_range, text_of

NAMES = tuple(Hyperparameters.model_fields)
DRAFT = JobDraft(dataset="/data/train.json", name="A job")


def spec_of(draft: JobDraft, job_id: str = "job-one") -> JobSpec:
    values = {**draft.values(), "job_id": job_id}
    return build_job_spec(job_spec().dataset, values, where="test")


def test_a_draft_without_problems_becomes_the_job_that_was_typed() -> None:
    draft = replace(
        DRAFT,
        revision=" main ",
        tags="one, two,, one",
        notes=" remember \nthis ",
        preset=Preset.CONSERVATIVE,
        cut_targets="train",
        over_long="exclude",
        dry_run=True,
        hyperparameters={"num_epochs": "5", "target_modules": "q_proj, v_proj"},
    )

    assert draft.problems() == {}
    spec = spec_of(draft)
    assert (spec.name, spec.base_model, spec.base_model_revision) == ("A job", "tiny", "main")
    assert (spec.tags, spec.notes) == (("one", "two"), "remember \nthis")
    assert (spec.cut_targets, spec.over_long, spec.dry_run) == ("train", "exclude", True)
    assert spec.hyperparameters.num_epochs == 5
    assert spec.hyperparameters.target_modules == ("q_proj", "v_proj")
    assert spec.hyperparameters.lora_r == PRESETS[Preset.CONSERVATIVE]["lora_r"]


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_value_of_any_hyperparameter_says_what_is_allowed(name: str) -> None:
    for wrong in ("", "-1", "nan", "inf", "1e999", "four") if name != "target_modules" else (",",):
        draft = DRAFT.with_hyperparameter(name, wrong)
        assert draft.problems() == {name: f"must be {allowed_range(name)}."}
        assert draft.hyperparameter(name) == wrong


def test_several_wrong_values_are_all_named() -> None:
    draft = replace(DRAFT, name="ab", base_model=" ", hyperparameters={"lora_r": "0", "seed": "x"})

    problems = draft.problems()

    assert list(problems) == ["name", "base_model", "lora_r", "seed"]
    assert problems["name"] == "must have 3 to 100 characters."


def test_a_dataset_is_needed() -> None:
    assert JobDraft().problems() == {"dataset": "choose a training file."}


@pytest.mark.parametrize(
    ("dataset", "typed", "name"),
    [
        ("/data/train.json", "", "train"),
        ("a.json", "  ", "a--"),
        (f"{'x' * 150}.json", "", "x" * 100),
        ("train.json", " Mine ", "Mine"),
        ("bad\x1b]52;c;aGk=\x07\u202ename.json", "", "badname"),
        ("\x1b[31m.json", "", "---"),
        ("", "", ""),
    ],
)
def test_a_job_without_a_name_is_called_as_its_file(dataset: str, typed: str, name: str) -> None:
    draft = JobDraft(dataset=dataset, name=typed)

    assert draft.job_name == name
    assert "name" not in draft.problems()


def test_what_was_changed_by_hand_stays_when_the_preset_changes() -> None:
    typed = DRAFT.with_hyperparameter("learning_rate", "1e-5").with_hyperparameter("lora_r", "999")

    switched = replace(typed, preset=Preset.AGGRESSIVE)

    assert switched.hyperparameter("learning_rate") == "1e-5"
    assert switched.hyperparameter("lora_r") == "999"
    assert switched.hyperparameter("num_epochs") == "4"
    assert switched.differs_from_preset("learning_rate")
    assert not switched.differs_from_preset("num_epochs")


def test_a_value_that_another_preset_has_too_is_kept_but_not_marked_there() -> None:
    typed = DRAFT.with_hyperparameter("lora_r", "32")

    aggressive = replace(typed, preset=Preset.AGGRESSIVE)

    assert not aggressive.differs_from_preset("lora_r")
    assert replace(aggressive, preset=Preset.BALANCED).hyperparameter("lora_r") == "32"


@pytest.mark.parametrize("text", ["0.0002", "2e-4", " 0.00020 "])
def test_typing_the_presets_value_is_going_back_to_it(text: str) -> None:
    typed = DRAFT.with_hyperparameter("learning_rate", "0.5")

    assert typed.with_hyperparameter("learning_rate", text) == DRAFT


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"preset": Preset.AGGRESSIVE, "dry_run": True, "notes": "two\nlines", "tags": ("a", "b")},
        {"optim": "adamw_torch", "max_restarts": 0, "checkpoint_interval_steps": 7},
        {"attention": "sdpa", "pack_tokens": 256, "max_non_finite_steps": 1},
        {"checkpoints_kept": 1, "disk_floor_bytes": 0, "num_gpus": 2, "early_stopping_patience": 1},
        {"base_model_revision": "main", "cut_targets": "train", "over_long": "exclude"},
        {
            "preset": Preset.CONSERVATIVE,
            "hyperparameters": Hyperparameters.from_values(
                {"learning_rate": 1e-7, "lora_alpha": 3, "target_modules": "q_proj"}
            ),
        },
    ],
)
def test_a_new_job_from_an_earlier_one_asks_for_the_same_work(values: dict[str, Any]) -> None:
    earlier = job_spec(**values)

    draft = JobDraft.of_spec(earlier, Path("/data/train.json"))

    assert draft.problems() == {}
    assert draft.dataset == "/data/train.json"
    assert spec_of(draft, earlier.job_id).same_work_as(earlier)


def test_only_values_unlike_the_presets_count_as_changed_in_a_new_job_from_an_earlier_one() -> None:
    spec = job_spec(
        preset=Preset.AGGRESSIVE,
        hyperparameters=Hyperparameters.from_values({"seed": 7}, Preset.AGGRESSIVE),
    )

    assert JobDraft.of_spec(spec, Path("t.json")).hyperparameters == {"seed": "7"}


@pytest.mark.parametrize("preset", Preset)
@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_shown_as_one_would_type_it(name: str, preset: Preset) -> None:
    text = preset_text(name, preset)

    value = getattr(Hyperparameters.from_values({}, preset), name)
    assert getattr(Hyperparameters.from_values({name: text}), name) == value
    assert text_of(value) == text


def test_steps_can_be_counted_while_a_value_that_does_not_matter_is_wrong() -> None:
    draft = DRAFT.with_hyperparameter("learning_rate", "x").with_hyperparameter("num_epochs", "7")

    counted = draft.countable_hyperparameters()
    assert counted is not None
    assert counted.num_epochs == 7
    assert draft.with_hyperparameter("batch_size", "0").countable_hyperparameters() is None


def test_a_length_that_is_none_is_none() -> None:
    assert DRAFT.max_seq_length() == 4096
    assert DRAFT.with_hyperparameter("max_seq_length", "12").max_seq_length() is None


def test_ranges_are_short() -> None:
    ranges = {name: short_range(name) for name in NAMES if name != "target_modules"}

    assert ranges["num_epochs"] == "1 … 100"
    assert ranges["learning_rate"] == "> 0, < 1"
    assert ranges["lora_dropout"] == "≥ 0, < 1"
    assert max(map(len, ranges.values())) <= 15


@pytest.mark.parametrize("name", NAMES)
def test_every_hyperparameter_has_help_with_its_range_and_the_presets_value(name: str) -> None:
    purpose, allowed = field_help(name, Preset.CONSERVATIVE)

    assert purpose == help_line(name)
    default = preset_text(name, Preset.CONSERVATIVE)
    assert allowed == f"{short_range(name)}; conservative: {default}"


def test_a_new_job_from_an_earlier_one_runs_where_that_did() -> None:
    assert JobDraft.of_spec(job_spec(), Path("t.json"), "ssh:box").host == "ssh:box"


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("local", "local"),
        (" ssh:box ", "ssh:box"),
        ("ssh://me@box:2222/", "ssh:me@box:2222"),
        ("ssh:[::1]:22", "ssh:[::1]:22"),
    ],
)
def test_a_host_is_kept_as_the_store_names_it(typed: str, name: str) -> None:
    draft = replace(DRAFT, host=typed)

    assert draft.problems() == {}
    assert draft.host_name == name


@pytest.mark.parametrize("typed", ["", "box", "ssh:", "ssh:a b", "ssh:box:0"])
def test_what_names_no_host_is_a_problem_of_its_field(typed: str) -> None:
    draft = replace(DRAFT, host=typed)

    assert list(draft.problems()) == ["host"]
    assert draft.host_name == typed


def test_the_help_of_a_base_model_follows_the_host() -> None:
    assert "absolute path" in field_help("base_model", Preset.BALANCED, "ssh:box")[0]
    assert "absolute path" not in field_help("base_model", Preset.BALANCED)[0]


@pytest.mark.parametrize(
    ("field", "text", "problem"),
    [
        ("num_gpus", "0", "must be a whole number at least 1, at most 64."),
        ("num_gpus", "", "must be a whole number at least 1, at most 64."),
        ("early_stopping_patience", "x", "must be a whole number at least 1, at most 100 or none."),
    ],
)
def test_an_option_is_judged_like_a_hyperparameter(field: str, text: str, problem: str) -> None:
    wrong: Any = {field: text}
    assert replace(DRAFT, **wrong).problems() == {field: problem}
    purpose, allowed = field_help(field, Preset.BALANCED)
    assert purpose.endswith(".")
    assert short_range(field) in allowed
    assert "usually" in allowed


def test_options_reach_the_job() -> None:
    spec = spec_of(replace(DRAFT, num_gpus=" 2 ", early_stopping_patience="3"))
    assert (spec.num_gpus, spec.early_stopping_patience) == (2, 3)
    assert spec_of(DRAFT).early_stopping_patience is None


CHECKPOINT = CheckpointReference(job_id="job-zero", step=40, manifest_sha256="c" * 64)
ENDED = StoredJob(
    job_spec(hyperparameters={"lora_r": 8}, pack_tokens=4096, resume_from=CHECKPOINT),
    JobState(),
    "ssh:box",
    retry_of=None,
    error_message=None,
    created_at=BEGIN,
    updated_at=BEGIN,
)


def test_a_changed_retry_is_the_earlier_job_with_its_changes_marked() -> None:
    changes = {"learning_rate": 1e-4, "num_gpus": 2, "checkpoints_kept": 1}
    draft = JobDraft.changed(ENDED, Path("/data/train.json"), changes)

    assert (draft.retry_of, draft.host) == ("job-one", "ssh:box")
    assert draft.changes == (
        "learning_rate 0.0002 → 0.0001, num_gpus 1 → 2, checkpoints_kept 3 → 1, "
        "resume_from step 40 of job-zero → none"
    )
    assert draft.differs_from_preset("learning_rate")
    spec = spec_of(draft)
    assert (spec.hyperparameters.lora_r, spec.hyperparameters.learning_rate) == (8, 1e-4)
    assert (spec.pack_tokens, spec.num_gpus, spec.checkpoints_kept) == (4096, 2, 1)
    assert spec.resume_from is None


def test_a_retry_begins_where_the_earlier_job_did_and_a_new_job_does_not() -> None:
    path = Path("/data/train.json")
    assert spec_of(JobDraft.of_spec(ENDED.spec, path)).resume_from is None
    assert spec_of(JobDraft.changed(ENDED, path, {"num_gpus": 2})).resume_from == CHECKPOINT
    resumed = JobDraft.changed(ENDED, path, {"resume_from": CHECKPOINT, "max_restarts": 6})
    assert (spec_of(resumed).resume_from, spec_of(resumed).max_restarts) == (CHECKPOINT, 6)
    assert spec_of(JobDraft.changed(ENDED, path, {"resume_from": None})).resume_from is None
