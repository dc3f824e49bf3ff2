"""What is said about a job that does not exist yet: nothing that is not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shared.agent_protocol import GpuFacts, MachineFacts
from shared.clean_text import clean_line
from shared.dataset.findings import Finding, Severity
from shared.dataset.report import DatasetReport
from shared.hyperparameters import Hyperparameters
from shared.job_spec import DatasetReference
from tests.shared.llama_70b import LLAMA_70B
from tests.shared.store.journal import job_spec
from tui.services.dataset_check import CheckedFile
from tui.services.model_shapes import FoundShape
from tui.services.preview import Prepared, Preview
from tui.services.speed import ObservedSpeed, Speed
from tui.services.training_plan import TrainingPlan
from tui.views.job_draft import JobDraft
from tui.views.job_review import review_lines
from tui.views.job_summary import (
    Counted,
    blockers,
    estimate,
    headline,
    summary_lines,
)

DRAFT = JobDraft(dataset="/data/train.json")
REPORT = DatasetReport("by hand", 10, 40, 30, 28, 10, 9000, 1200, False, ())
PLAN = TrainingPlan(9, 1, 25, 8000, 6)
SPEED = Speed(ObservedSpeed(100.0, "job-before"))
ERROR = Finding(Severity.ERROR, "x", "wrong.", "Mend it.", "c1", 2, "line 3")
EVIL = "\x1b]52;c;aGk=\x07\u202ee"


def preview(report: DatasetReport = REPORT, plan: TrainingPlan | None = PLAN) -> Preview:
    return Preview("tiny", report, plan)


def values(counted: Counted) -> dict[str, str]:
    return {line.name: line.value for line in summary_lines(counted)}


def test_everything_is_said_once_it_is_counted() -> None:
    assert values(Counted(DRAFT, preview(), SPEED)) == {
        "dataset": "train.json (by hand)",
        "conversations": "10, 9 trained",
        "held out": "1 conversation",
        "targets": "25 an epoch, of 28 in the file (2 left out)",
        "tokens": "8,000 an epoch",
        "longest": "1,200 of 4,096 tokens",
        "steps": "6 (3 epochs, 16 targets a step)",
        "time": "at 100 tokens/s, as in job-before: about 0:04:00 of training, "
        "model loading and evaluation not counted",
        "memory": "–",
        "cost": "local host: no rent",
        "checks": "no findings",
    }


def test_the_same_names_stand_there_before_anything_is_known() -> None:
    unknown = values(Counted(JobDraft()))

    assert list(unknown) == list(values(Counted(DRAFT, preview(), SPEED)))
    assert unknown["steps"] == unknown["time"] == unknown["tokens"] == "–"


def test_estimated_tokens_are_called_so() -> None:
    counted = Counted(DRAFT, preview(replace(REPORT, tokens_are_estimated=True)))

    assert values(counted)["tokens"].startswith("about 8,000 an epoch: estimated")
    assert values(counted)["longest"] == "about 1,200 of 4,096 tokens"


def test_what_folding_saves_and_what_is_too_long_is_said() -> None:
    report = replace(REPORT, unfolded_tokens=18_000, over_long_count=2)
    shown = values(Counted(DRAFT, preview(report)))

    assert shown["tokens"] == "8,000 an epoch, folding saves 50 %"
    assert shown["longest"] == "1,200 of 4,096 tokens; 2 rows are too long"


def test_a_file_that_changed_since_its_last_check_is_a_warning_at_its_name() -> None:
    line = summary_lines(Counted(DRAFT, preview(), change=f"has changed{EVIL}"))[0]

    assert (line.name, line.tone) == ("dataset", "warning")
    assert line.value == "train.json (by hand) has changede"


def test_a_time_is_never_invented() -> None:
    unknown = "no earlier job with this model here: unknown until the first steps"

    assert estimate(PLAN, 3, False, Speed()) == unknown
    assert estimate(PLAN, 3, False, Speed(problem=f"locked{EVIL}")) == "unknown: lockede"
    assert estimate(PLAN, 3, True, SPEED) == "dry run: one optimizer step, not estimated"
    assert estimate(None, 3, False, SPEED) == "–"


def test_a_machine_of_ones_own_costs_no_rent() -> None:
    assert values(Counted(replace(DRAFT, host="ssh:box")))["cost"] == "your own machine: no rent"


def test_nothing_is_claimed_of_what_another_host_costs() -> None:
    assert values(Counted(replace(DRAFT, host="elsewhere"), preview()))["cost"] == "–"


def test_what_stops_a_start_is_said() -> None:
    wrong = DRAFT.with_hyperparameter("lora_r", "0")
    faulty = replace(REPORT, findings=(ERROR, ERROR), finding_counts={Severity.ERROR: {"x": 2}})
    unread = Preview("tiny", dataset_problem=f"is{EVIL} empty.", base_model_problem="is none.")

    assert blockers(DRAFT, preview()) == []
    assert blockers(DRAFT, preview(faulty)) == [
        "the training file has 2 errors: F3 goes to the findings."
    ]
    assert blockers(DRAFT, unread) == ["dataset: ise empty.", "base_model: is none."]
    assert blockers(wrong, preview(faulty))[0] == (
        "lora_r: must be a whole number at least 1, at most 256."
    )


def test_a_start_with_nothing_to_train_is_stopped_where_the_counts_are_exact() -> None:
    nothing = replace(PLAN, targets=0)
    estimated = replace(REPORT, tokens_are_estimated=True)

    assert blockers(DRAFT, preview(plan=nothing)) == [
        "with these settings nothing is left to train."
    ]
    assert blockers(DRAFT, preview(estimated, nothing)) == []


def test_the_headline_has_what_matters_most() -> None:
    assert headline(Counted(JobDraft())) == "no training file yet"
    assert headline(Counted(DRAFT)) == "nothing counted yet"
    assert headline(Counted(DRAFT, preview(), SPEED)) == (
        "10 conversations · 25 targets · 6 steps · about 0:04:00 · no findings"
    )


def test_counts_belong_to_all_drafts_that_ask_the_same() -> None:
    counted = Counted(DRAFT, preview())

    assert counted.is_of(replace(DRAFT, name="Another", notes="x", dry_run=True))
    assert counted.is_of(DRAFT.with_hyperparameter("learning_rate", "0.1"))
    assert not counted.is_of(DRAFT.with_hyperparameter("num_epochs", "4"))
    assert not counted.is_of(replace(DRAFT, host="elsewhere"))


def test_the_review_shows_the_hash_the_changes_and_whatever_is_unusual() -> None:
    spec = job_spec(
        notes=f"a{EVIL}",
        optim="adamw_torch",
        hyperparameters=Hyperparameters.from_values({"seed": 7}),
    )

    prepared = Prepared(Path("/data/t.json"), spec, REPORT, PLAN)
    lines = review_lines(prepared, "local", SPEED, "has changed: turns 2 -> 4")

    shown = {line.name: line for line in lines}
    assert (shown["the file"].value, shown["the file"].tone) == (
        "has changed: turns 2 -> 4",
        "warning",
    )
    assert shown["sha256"].value == "a" * 64
    assert shown["seed"].value == "7 (changed; balanced: 42)"
    assert {line.name for line in lines if line.tone == "changed"} == {"seed", "optim"}
    assert set(Hyperparameters.model_fields) <= set(shown)
    assert shown["notes"].value == "ae"
    assert "tags" not in shown
    assert "dry run" not in shown
    assert shown["steps"].value == "6 (3 epochs, 16 targets a step)"


def test_the_review_of_a_dry_run_says_that_it_is_one() -> None:
    prepared = Prepared(Path("/data/t.json"), job_spec(dry_run=True), REPORT, PLAN)

    shown = {line.name: line.value for line in review_lines(prepared, "local", SPEED)}

    assert shown["dry run"] == "one optimizer step on ten examples; no adapter"
    assert shown["steps"] == "1 (dry run)"


def checked_preview() -> Preview:
    """What was counted of a file whose bytes are known."""
    dataset = DatasetReference(file_name="train.json", sha256="0" * 64, size_bytes=1)
    checked = CheckedFile(Path("/data/train.json"), dataset, "tiny", REPORT)
    plan = replace(PLAN, longest_row_tokens=1200, largest_step_tokens=9000)
    return Preview("tiny", REPORT, plan, checked=checked)


def machine_with(memory_total_mib: int) -> MachineFacts:
    gpu = GpuFacts(index=0, name=f"NVIDIA{EVIL} H100", memory_total_mib=memory_total_mib)
    return MachineFacts(gpus=(gpu,))


def test_the_memory_follows_what_is_typed_and_what_the_host_told() -> None:
    counted = Counted(
        DRAFT, checked_preview(), shape=FoundShape(LLAMA_70B), facts=machine_with(81_559)
    )
    line = next(line for line in summary_lines(counted) if line.name == "memory")
    assert (line.value, line.tone) == (
        f"about 60.2 GB of 79.6 GB ({clean_line(f'NVIDIA{EVIL} H100')})",
        "",
    )

    wider = replace(DRAFT, hyperparameters={"lora_r": "256"})
    line = next(
        line for line in summary_lines(replace(counted, draft=wider)) if line.name == "memory"
    )
    assert (line.value.endswith(": too much"), line.tone) == (True, "error")


def test_why_the_memory_is_not_known_is_said() -> None:
    counted = Counted(DRAFT, checked_preview(), shape=FoundShape(LLAMA_70B))
    assert values(counted)["memory"] == "unknown: the host has not told its memory"
    gated = replace(counted, shape=FoundShape(None, f"it is{EVIL} gated"))
    assert values(gated)["memory"].startswith("unknown: it is")
    assert "\x1b" not in values(gated)["memory"]
