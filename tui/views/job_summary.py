"""What a new job would be, in names and values, beside the form while it is typed.

Everything that comes from files, stores and errors is cleaned here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from shared.agent_protocol import MachineFacts
from shared.clean_text import clean_line
from shared.dataset.findings import Severity
from shared.dataset.report import DatasetReport
from shared.forecast.forecast import Forecast
from shared.forecast.past import NO_PAST, Past
from shared.hyperparameters import Hyperparameters
from shared.number_text import duration, many
from tui.services.hosts.names import LOCAL, RUNPOD, SSH_PREFIX
from tui.services.memory_check import Prediction
from tui.services.model_shapes import FoundShape
from tui.services.preview import Preview, Wanted
from tui.services.speed import ObservedSpeed, Speed
from tui.services.training_plan import TrainingPlan
from tui.views.dataset_report import saved_by_folding
from tui.views.finding_lines import checks_in_words
from tui.views.forecast_lines import in_one_line
from tui.views.job_draft import JobDraft
from tui.views.job_memory import (
    forecast_of_draft,
    is_memory_short,
    memory_of_draft,
    memory_text,
)

Tone = Literal["", "dim", "changed", "warning", "error"]

UNKNOWN = "–"
_NO_SPEED = "no earlier job with this model here: unknown until the first steps"


@dataclass(frozen=True, slots=True)
class Line:
    """A name, its value, and how it is meant."""

    name: str
    value: str
    tone: Tone = ""


@dataclass(frozen=True)
class Counted:
    """A draft, and what was found out about it so far."""

    draft: JobDraft
    preview: Preview | None = None
    speed: Speed = field(default_factory=Speed)
    change: str = ""
    """How the file differs from what the same path held when it was last checked."""
    shape: FoundShape | None = None
    """Of the base model; None where nobody has looked."""
    facts: MachineFacts | None = None
    """What the host told of itself last; None where it never did."""
    past: Past = NO_PAST
    """What earlier jobs took."""

    def is_of(self, draft: JobDraft) -> bool:
        """False where another look is needed: what was counted belongs to another draft."""
        return asked(self.draft) == asked(draft)

    @property
    def report(self) -> DatasetReport | None:
        return self.preview.report if self.preview else None

    @property
    def plan(self) -> TrainingPlan | None:
        return self.preview.plan if self.preview else None

    @property
    def memory(self) -> Prediction | None:
        """Predicted anew from what is typed by now."""
        return memory_of_draft(self.draft, self.preview, self.shape, self.facts)

    @property
    def forecast(self) -> Forecast | None:
        """Of all its parts, from what is typed by now; None for a machine that is chosen later."""
        return forecast_of_draft(self.draft, self.preview, self.shape, self.facts, self.past)


def asked(draft: JobDraft) -> Wanted:
    """All that counting depends on: two drafts that ask the same have the same counts."""
    return Wanted(
        draft.dataset,
        draft.base_model,
        draft.max_seq_length(),
        draft.countable_hyperparameters(),
        draft.cut_targets,
        draft.over_long,
        draft.host_name,
    )


_RENTED_TIME = "forecast for each GPU before the review"
_RENTED_MEMORY = Line("memory", "predicted for each GPU before the review")


def summary_lines(counted: Counted) -> list[Line]:
    """What the job would train, as far as it is known by now; always the same names."""
    draft, report, plan = counted.draft, counted.report, counted.plan
    return [
        _dataset_line(counted),
        Line("conversations", conversations_text(report, plan), _known(report)),
        Line("held out", held_out_text(plan), _known(plan)),
        Line("targets", targets_text(report, plan), _known(report)),
        Line("tokens", tokens_text(report, plan), _known(report)),
        _longest_line(draft, report),
        Line("steps", _steps(draft, plan), _known(plan)),
        Line("time", time_text(counted), _known(plan)),
        _RENTED_MEMORY if draft.host_name == RUNPOD else memory_line(counted.memory),
        Line("cost", cost_text(draft.host_name)),
        _checks_line(report),
    ]


def time_text(counted: Counted) -> str:
    """How long it would take in all, as far as that is known by now."""
    draft, foreseen = counted.draft, counted.forecast
    if foreseen is not None:
        return in_one_line(foreseen)
    if draft.host_name == RUNPOD and counted.plan is not None and not draft.dry_run:
        return _RENTED_TIME
    return estimate(counted.plan, _num_epochs(draft), draft.dry_run, counted.speed)


def blockers(draft: JobDraft, preview: Preview | None) -> list[str]:
    """Why the job cannot be started as it stands, most urgent first; empty if it can."""
    reasons = [f"{field}: {problem}" for field, problem in draft.problems().items()]
    if preview is not None:
        reasons += _file_blockers(preview)
    return [clean_line(reason) for reason in reasons]


def _file_blockers(preview: Preview) -> list[str]:
    reasons = [f"{field}: {problem}" for field, problem in file_problems(preview).items()]
    report, plan = preview.report, preview.plan
    if report is not None and report.has_errors:
        errors = many(report.count(Severity.ERROR), "error")
        reasons.append(f"the training file has {errors}: F3 goes to the findings.")
    elif plan is not None and plan.targets == 0 and report and not report.tokens_are_estimated:
        reasons.append("with these settings nothing is left to train.")
    return reasons


def file_problems(preview: Preview | None) -> dict[str, str]:
    """What is wrong with the files that a field names, by field."""
    if preview is None:
        return {}
    found = {"dataset": preview.dataset_problem, "base_model": preview.base_model_problem}
    return {field: problem for field, problem in found.items() if problem}


def headline(counted: Counted) -> str:
    """The summary in one line, for where there is no room for more."""
    draft, report, plan = counted.draft, counted.report, counted.plan
    if report is None:
        return "no training file yet" if not draft.dataset.strip() else "nothing counted yet"
    words = [many(report.conversations, "conversation")]
    if plan is not None:
        steps = 1 if draft.dry_run else plan.total_steps
        words += [many(plan.targets, "target"), many(steps, "step")]
        if counted.speed.observed is not None and not draft.dry_run:
            words.append(_about_time(plan, _num_epochs(draft), counted.speed.observed))
    return " · ".join([*words, checks_in_words(report)])


def estimate(plan: TrainingPlan | None, num_epochs: int, dry_run: bool, speed: Speed) -> str:
    """The training time at a speed that was measured, and where; never a guess."""
    if plan is None:
        return UNKNOWN
    if dry_run:
        return "dry run: one optimizer step, not estimated"
    if speed.problem:
        return f"unknown: {clean_line(speed.problem)}"
    if speed.observed is None:
        return _NO_SPEED
    observed = speed.observed
    return (
        f"at {observed.tokens_per_s:,.0f} tokens/s, as in {clean_line(observed.job_id)}: "
        f"{_about_time(plan, num_epochs, observed)} of training, "
        "model loading and evaluation not counted"
    )


# --- single values ----------------------------------------------------------------------------


def _dataset_line(counted: Counted) -> Line:
    draft, preview = counted.draft, counted.preview
    if not draft.dataset.strip():
        return Line("dataset", "choose a training file", "dim")
    if preview is not None and preview.dataset_problem:
        return Line("dataset", clean_line(preview.dataset_problem), "error")
    name = clean_line(draft.dataset.strip().rsplit("/", 1)[-1])
    shape = f" ({counted.report.shape})" if counted.report else ""
    if counted.change:
        return Line("dataset", f"{name}{shape} {clean_line(counted.change)}", "warning")
    return Line("dataset", name + shape)


def memory_line(memory: Prediction | None) -> Line:
    """What the job will need of what is there."""
    if not (text := memory_text(memory)):
        return Line("memory", UNKNOWN, "dim")
    if memory is not None and memory.need is not None and memory.need.is_refused:
        return Line("memory", text, "error")
    return Line("memory", text, "warning" if is_memory_short(memory) else "")


def cost_text(host: str) -> str:
    """Nothing is rented on machines of one's own; elsewhere nothing is known here."""
    if host == LOCAL:
        return "local host: no rent"
    if host == RUNPOD:
        return "rented: the machine is chosen before the review"
    return "your own machine: no rent" if host.startswith(SSH_PREFIX) else UNKNOWN


def conversations_text(report: DatasetReport | None, plan: TrainingPlan | None) -> str:
    if report is None:
        return UNKNOWN
    trained = f", {plan.train_conversations:,} trained" if plan else ""
    return f"{report.conversations:,}{trained}"


def held_out_text(plan: TrainingPlan | None) -> str:
    if plan is None:
        return UNKNOWN
    return many(plan.held_out_conversations, "conversation")


def targets_text(report: DatasetReport | None, plan: TrainingPlan | None) -> str:
    if report is None:
        return UNKNOWN
    left_out = report.targets - report.trained_targets
    without = f" ({left_out:,} left out)" if left_out else ""
    epoch = f"{plan.targets:,} an epoch, of " if plan else ""
    return f"{epoch}{report.trained_targets:,} in the file{without}"


def tokens_text(report: DatasetReport | None, plan: TrainingPlan | None) -> str:
    if report is None:
        return UNKNOWN
    about = "about " if report.tokens_are_estimated else ""
    tokens = plan.tokens_per_epoch if plan else report.tokens
    saved = saved_by_folding(report)
    folded = f", folding saves {saved} %" if saved else ""
    how = ": estimated, the model's tokenizer is not here" if report.tokens_are_estimated else ""
    return f"{about}{tokens:,} an epoch{folded}{how}"


def longest_text(report: DatasetReport | None, max_seq_length: int | None) -> str:
    """The longest conversation."""
    if report is None or max_seq_length is None:
        return UNKNOWN
    about = "about " if report.tokens_are_estimated else ""
    over = report.over_long_count
    beyond = f"; {many(over, 'row is', 'rows are')} too long" if over else ""
    return f"{about}{report.longest_tokens:,} of {max_seq_length:,} tokens{beyond}"


def _longest_line(draft: JobDraft, report: DatasetReport | None) -> Line:
    length = draft.max_seq_length()
    if report is None or length is None:
        return Line("longest", UNKNOWN, "dim")
    tone: Tone = "warning" if report.longest_tokens > length else ""
    return Line("longest", longest_text(report, length), tone)


def _steps(draft: JobDraft, plan: TrainingPlan | None) -> str:
    hyperparameters = draft.countable_hyperparameters()
    if plan is None or hyperparameters is None:
        return UNKNOWN
    return "1 (dry run)" if draft.dry_run else steps_text(hyperparameters, plan)


def steps_text(hyperparameters: Hyperparameters, plan: TrainingPlan) -> str:
    return (
        f"{plan.total_steps:,} ({many(hyperparameters.num_epochs, 'epoch')}, "
        f"{many(hyperparameters.targets_per_step, 'target')} a step)"
    )


def _num_epochs(draft: JobDraft) -> int:
    hyperparameters = draft.countable_hyperparameters()
    return hyperparameters.num_epochs if hyperparameters else 0


def _about_time(plan: TrainingPlan, num_epochs: int, observed: ObservedSpeed) -> str:
    seconds = plan.tokens_per_epoch * num_epochs / observed.tokens_per_s
    return f"about {duration(max(seconds, 1))}"


def _checks_line(report: DatasetReport | None) -> Line:
    if report is None:
        return Line("checks", UNKNOWN, "dim")
    return Line("checks", checks_in_words(report), worst_tone(report))


def worst_tone(report: DatasetReport) -> Tone:
    if report.has_errors:
        return "error"
    return "warning" if report.has_warnings else ""


def _known(value: object) -> Tone:
    return "dim" if value is None else ""
