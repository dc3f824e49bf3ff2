"""Everything that a start would start, for a last look at it."""

from __future__ import annotations

from shared.clean_text import clean_line
from shared.job_options import unusual_options
from shared.number_text import short_path, size
from tui.services.memory_check import Prediction
from tui.services.preview import Prepared
from tui.services.speed import Speed
from tui.views.finding_lines import checks_in_words
from tui.views.job_draft import preset_text, text_of
from tui.views.job_summary import (
    Line,
    conversations_text,
    cost_text,
    estimate,
    held_out_text,
    longest_text,
    memory_line,
    steps_text,
    targets_text,
    tokens_text,
    worst_tone,
)

_DRY_RUN = "one optimizer step on ten examples; no adapter"


def review_lines(
    prepared: Prepared,
    host: str,
    speed: Speed,
    change: str = "",
    retry_of: str | None = None,
    memory: Prediction | None = None,
) -> list[Line]:
    """Everything that will be started: what was decided first, what follows from it after.

    `change` says how the training file differs from what its last check saw.
    """
    spec, report, plan = prepared.spec, prepared.report, prepared.plan
    hyperparameters = spec.hyperparameters
    revision = f" at {spec.base_model_revision}" if spec.base_model_revision else ""
    values = _hyperparameter_lines(prepared)
    file_size = size(spec.dataset.size_bytes)
    lines = [
        Line("name", spec.name),
        Line("retry of", retry_of or ""),
        Line("dry run", _DRY_RUN if spec.dry_run else "", "warning"),
        Line(
            "dataset",
            f"{short_path(prepared.path)} ({file_size}, {report.shape})",
        ),
        Line("the file", change, "warning"),
        Line("checks", checks_in_words(report), worst_tone(report)),
        Line("base model", spec.base_model + revision),
        Line("host", host),
        *([memory_line(memory)] if memory and memory.need else []),
        Line("cost", cost_text(host)),
        Line("preset", spec.preset.value),
        *(line for line in values if line.tone == "changed"),
        *_other_lines(prepared),
        Line("steps", "1 (dry run)" if spec.dry_run else steps_text(hyperparameters, plan)),
        Line("held out", held_out_text(plan)),
        Line("time", estimate(plan, hyperparameters.num_epochs, spec.dry_run, speed)),
        Line("conversations", conversations_text(report, plan)),
        Line("targets", targets_text(report, plan)),
        Line("tokens", tokens_text(report, plan)),
        Line("longest", longest_text(report, hyperparameters.max_seq_length)),
        Line("sha256", spec.dataset.sha256, "dim"),
        Line("tags", ", ".join(spec.tags), "dim"),
        Line("notes", spec.notes, "dim"),
        *(line for line in values if line.tone != "changed"),
    ]
    return [Line(line.name, clean_line(line.value), line.tone) for line in lines if line.value]


def _hyperparameter_lines(prepared: Prepared) -> list[Line]:
    spec = prepared.spec
    return [
        _compared(name, text_of(value), preset_text(name, spec.preset), spec.preset)
        for name, value in spec.hyperparameters
    ]


def _compared(name: str, value: str, default: str, preset: str) -> Line:
    if value == default:
        return Line(name, value, "dim")
    return Line(name, f"{value}  (changed; {preset}: {default})", "changed")


def _other_lines(prepared: Prepared) -> list[Line]:
    """Options are shown only where they are not as usual."""
    return [
        Line(name, value, "changed")
        for name, value in unusual_options(prepared.spec)
        if name != "dry_run"
    ]
