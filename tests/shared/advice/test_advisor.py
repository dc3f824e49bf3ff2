"""What is suggested after each way a job can end, and that it can be launched."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.advice.advisor import _RULES, suggestions
from shared.advice.suggestion import EndedJob, Suggestion
from shared.dataset.checks.checker import check_dataset
from shared.dataset.findings import Severity
from shared.dataset.reader import read_dataset
from shared.job_options import changed_spec, parse_setting, read_settings
from shared.job_spec import CheckpointReference
from shared.lifecycle import STOP_REASONS, JobStatus, StopReason
from tests.shared.advice.ended_jobs import ended_job, facts, report, run_of
from tests.shared.dataset.documents import document, file_pairs
from tests.shared.small_tokenizer import small_encoder

CHECKPOINT = CheckpointReference(job_id="job-zero", step=40, manifest_sha256="c" * 64)


def only(job: EndedJob) -> Suggestion:
    [suggestion] = suggestions(job)
    return suggestion


def changes(job: EndedJob) -> list[dict[str, Any]]:
    return [dict(suggestion.changes) for suggestion in suggestions(job)]


# --- what is launched -------------------------------------------------------------------------


def test_a_command_says_all_that_changes() -> None:
    suggestion = Suggestion("", {"learning_rate": 1e-4, "target_modules": ("q_proj", "v_proj")})
    assert suggestion.command("job-one") == (
        "brightrun retry job-one --set learning_rate=0.0001 --set target_modules=q_proj,v_proj"
    )
    resumed = Suggestion("", {"force_resume": True, "max_restarts": 6}, "resume")
    assert resumed.command("job-one") == "brightrun resume job-one --force --set max_restarts=6"
    assert Suggestion("Buy a larger one.", way="none").command("job-one") == ""


LOSSES = st.lists(st.none() | st.floats(0.01, 12), max_size=60)


@given(
    reason=st.sampled_from(StopReason),
    losses=LOSSES,
    held_out=st.lists(st.floats(0.01, 12), max_size=4),
    hyperparameters=st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-8, 0.99),
            "lora_r": st.integers(1, 256),
            "lora_alpha": st.integers(1, 512),
            "num_epochs": st.integers(1, 100),
            "weight_decay": st.floats(0, 1),
            "warmup_ratio": st.floats(0, 0.99),
            "max_seq_length": st.integers(64, 131_072),
        }
    ),
    options=st.fixed_dictionaries(
        {
            "pack_tokens": st.integers(256, 131_072),
            "num_gpus": st.integers(1, 64),
            "checkpoints_kept": st.integers(1, 100),
            "max_restarts": st.integers(0, 20),
            "checkpoint_interval_steps": st.none() | st.integers(1, 9),
            "resume_from": st.none() | st.just(CHECKPOINT),
        }
    ),
    state=st.fixed_dictionaries(
        {
            "attempt": st.integers(1, 21),
            "step": st.integers(0, 200),
            "last_checkpoint_step": st.none() | st.integers(1, 200),
        }
    ),
    rows=st.lists(st.integers(0, 40), min_size=1, max_size=24),
    bin_tokens=st.integers(1, 6000),
    run=st.fixed_dictionaries(
        {
            "micro_batch_tokens": st.integers(0, 131_072),
            "optim": st.sampled_from(["adamw_torch", "adamw_8bit", "paged_adamw_8bit"]),
            "device": st.sampled_from(["cpu", "NVIDIA H100 PCIe"]),
        }
    ),
    split_at=st.none() | st.integers(1, 20_000),
)
def test_every_suggestion_is_a_valid_job_that_differs(
    reason: StopReason,
    losses: list[float | None],
    held_out: list[float],
    hyperparameters: dict[str, Any],
    options: dict[str, Any],
    state: dict[str, Any],
    rows: list[int],
    bin_tokens: int,
    run: dict[str, Any],
    split_at: int | None,
) -> None:
    warning = f"out of memory: a micro-batch is split; from now on at most {split_at or 0:,} tokens"
    job = ended_job(
        reason,
        spec={"hyperparameters": hyperparameters, "dry_run": True, **options},
        state=state,
        points=run_of(losses, held_out),
        facts=facts(**run),
        report=report(rows, bin_tokens),
        warnings=() if split_at is None else (warning,),
    )
    for suggestion in suggestions(job):
        changed = changed_spec(job.spec, suggestion.changes)
        is_new_start = reason is StopReason.CHECKPOINT_MISMATCH and not suggestion.changes
        resumes = suggestion.way == "resume"
        if suggestion.can_be_launched and not is_new_start and not resumes:
            assert changed != job.spec
        assert_types_back(job, suggestion)


def assert_types_back(job: EndedJob, suggestion: Suggestion) -> None:
    """What is printed to be typed gives the same job as the suggestion itself."""
    words = shlex.split(suggestion.command("job-one"))
    settings = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
    typed = read_settings(dict(map(parse_setting, settings)))
    typed |= typed.pop("hyperparameters")
    if "--force" in words:
        typed["force_resume"] = True
    assert changed_spec(job.spec, typed) == changed_spec(job.spec, suggestion.changes)


@pytest.mark.parametrize("reason", StopReason)
def test_a_job_of_which_nothing_is_known_gets_no_figures_made_up(reason: StopReason) -> None:
    for suggestion in suggestions(ended_job(reason)):
        assert "None" not in suggestion.reason


def test_a_job_that_goes_on_gets_no_suggestion() -> None:
    job = ended_job(StopReason.COMPLETED, points=run_of([1.0] * 40))
    going_on = EndedJob(job.spec, job.state.model_copy(update={"stop_reason": None}), job.points)
    assert suggestions(job)
    assert suggestions(going_on) == []


def test_what_can_be_launched_comes_first() -> None:
    job = ended_job(StopReason.OUT_OF_MEMORY, facts=facts(), report=report([90, 8, 2]))
    ways = [suggestion.can_be_launched for suggestion in suggestions(job)]
    assert ways == sorted(ways, reverse=True)
    assert ways[-1] is False


# --- numbers that broke -----------------------------------------------------------------------


def test_a_break_while_the_rate_was_highest_asks_for_half_of_it_and_a_longer_warmup() -> None:
    state = {"total_steps": 100}
    job = ended_job(StopReason.NON_FINITE, state=state, points=run_of([2.0, 2.5, 3.1, None]))
    suggestion = only(job)
    assert suggestion.changes == {"learning_rate": 1e-4, "warmup_ratio": 0.1}
    assert "3 sound steps of 100 (the last loss was 3.1000)" in suggestion.reason
    assert "learning_rate 0.0002 and warmup_ratio 0.03" in suggestion.reason


def test_a_late_break_asks_for_half_of_the_rate_alone() -> None:
    points = run_of([2.0] * 60 + [None])
    job = ended_job(StopReason.NON_FINITE, state={"total_steps": 100}, points=points)
    assert changes(job) == [{"learning_rate": 1e-4}]


def test_a_break_before_any_update_is_not_the_learning_rates_fault() -> None:
    bad_losses = run_of([None, None, None])
    bad_gradients = [replace(point, grad_norm=None) for point in run_of([2.0, 2.1, 2.0])]
    for points in (bad_losses, bad_gradients):
        suggestion = only(ended_job(StopReason.NON_FINITE, points=points))
        assert not suggestion.can_be_launched
        assert "before any update" in suggestion.reason


# --- disks, checkpoints, interruptions --------------------------------------------------------


def test_a_full_disk_is_helped_by_fewer_checkpoints_from_the_last_one_on() -> None:
    state = {"last_checkpoint_step": 12}
    job = ended_job(StopReason.DISK_FULL, state=state, checkpoint_bytes=1_250_000_000)
    suggestion = only(job)
    assert (suggestion.changes, suggestion.way) == ({"checkpoints_kept": 1}, "resume")
    assert "Up to 3 checkpoints of 1.2 GB each" in suggestion.reason

    assert suggestions(ended_job(StopReason.DISK_FULL, spec={"checkpoints_kept": 1})) == []


def test_a_foreign_checkpoint_is_left_or_forced() -> None:
    job = ended_job(StopReason.CHECKPOINT_MISMATCH, spec={"resume_from": CHECKPOINT})
    fresh, forced = suggestions(job)
    assert fresh.command("job-one") == "brightrun retry job-one --set resume_from=none"
    assert forced.command("job-one") == "brightrun retry job-one --set force_resume=true"
    assert "step 40 of job-zero" in fresh.reason

    own = ended_job(StopReason.CHECKPOINT_MISMATCH, state={"last_checkpoint_step": 3})
    assert [suggestion.command("job-one") for suggestion in suggestions(own)] == [
        "brightrun retry job-one",
        "brightrun resume job-one --force",
    ]


def test_a_job_that_came_forward_between_interruptions_goes_on_with_more_restarts() -> None:
    state = {"attempt": 4, "last_checkpoint_step": 60, "total_steps": 141}
    suggestion = only(ended_job(StopReason.RESTARTS_EXHAUSTED, state=state))
    assert (suggestion.changes, suggestion.way) == ({"max_restarts": 6}, "resume")
    assert "interrupted 4 times, and step 60 of 141 is saved" in suggestion.reason


def test_a_job_that_never_took_a_step_is_not_simply_tried_more_often() -> None:
    assert suggestions(ended_job(StopReason.RESTARTS_EXHAUSTED, state={"attempt": 4})) == []


@pytest.mark.parametrize("reason", [StopReason.TRAINER_CRASHED, StopReason.HARDWARE_FAULT])
def test_what_failed_at_the_same_place_again_is_not_tried_again(reason: StopReason) -> None:
    for detail, count in (("Interrupted 4 times, the last", 1), ("Started again without", 0)):
        state = {"attempt": 4, "last_checkpoint_step": 60, "detail": detail}
        assert len(suggestions(ended_job(reason, state=state))) == count


def test_a_job_that_never_came_to_a_checkpoint_saves_every_step() -> None:
    state = {"attempt": 4, "step": 7}
    job = ended_job(StopReason.RESTARTS_EXHAUSTED, state=state)
    assert changes(job) == [{"checkpoint_interval_steps": 1}]


def test_a_dry_run_that_passed_leads_to_the_whole_job() -> None:
    job = ended_job(StopReason.DRY_RUN_PASSED, spec={"dry_run": True})
    assert changes(job) == [{"dry_run": False}]


def test_only_reasons_without_a_remedy_have_no_rule() -> None:
    failed = {reason for reason in StopReason if STOP_REASONS[reason].status is JobStatus.FAILED}
    interruptions = {reason for reason in failed if STOP_REASONS[reason].retry}
    assert failed - set(_RULES) - interruptions == {
        StopReason.DATASET_CHANGED,
        StopReason.INVALID_BASE_MODEL,
        StopReason.ADAPTER_REJECTED,
        # What became of the machine is no matter of settings.
        StopReason.DEADLINE_REACHED,
        StopReason.BUDGET_EXHAUSTED,
        StopReason.MACHINE_LOST,
        StopReason.NO_MACHINE,
        StopReason.PROVIDER_REFUSED,
        StopReason.RESULTS_LOST,
    }


# --- conversations that are too long ----------------------------------------------------------


def refusal(path: Path, *answers: str) -> str:
    """What the check says first of a file of these answers, as the trainer passes it on."""
    talks = {f"c{number}": file_pairs("Hi", answer) for number, answer in enumerate(answers)}
    path.write_text(json.dumps(document(**talks)))
    checked = check_dataset(
        read_dataset(path), max_seq_length=64, encoder=small_encoder(), over_long="refuse"
    )
    first, others = checked.findings[0], checked.count(Severity.ERROR) - 1
    more = f" ({others} more error{'s' * (others > 1)})" if others else ""
    return f"{path.name}: {', '.join(first.places)}: {first.message} {first.advice}{more}"


def test_one_conversation_over_the_limit_gets_a_longer_limit_or_is_left_out(tmp_path: Path) -> None:
    detail = refusal(tmp_path / "train.json", "x" * 100)
    job = ended_job(StopReason.INVALID_DATASET, state={"detail": detail})
    longer, without = suggestions(job)
    assert "max_seq_length is 64" in longer.reason
    assert 100 < longer.changes["max_seq_length"] <= 192
    assert without.changes == {"over_long": "exclude"}


def test_several_over_the_limit_can_only_be_left_out(tmp_path: Path) -> None:
    """The first of them need not be the longest."""
    detail = refusal(tmp_path / "train.json", *("x" * length for length in (100, 3000, 90)))
    job = ended_job(StopReason.INVALID_DATASET, state={"detail": detail})
    suggestion = only(job)
    assert suggestion.changes == {"over_long": "exclude"}
    assert "3 findings stop the job" in suggestion.reason


def test_another_fault_of_the_file_is_mended_in_the_file() -> None:
    detail = "train.json: conversation c1: the target is empty. Fill it in."
    assert suggestions(ended_job(StopReason.INVALID_DATASET, state={"detail": detail})) == []


def test_an_option_that_the_machine_cannot_serve_goes_back_to_the_usual() -> None:
    detail = "attention = 'flash_attention_3': there is no GPU; use auto or sdpa."
    state, spec = {"detail": detail}, {"attention": "flash_attention_3"}
    job = ended_job(StopReason.INVALID_JOB_SPEC, state=state, spec=spec)
    assert changes(job) == [{"attention": "auto"}]
    assert suggestions(ended_job(StopReason.INVALID_JOB_SPEC, state=state)) == []
