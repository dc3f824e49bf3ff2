"""A comparison of jobs as rows: for a table, for CSV and for JSON. Values in, values out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.clean_text import clean_line
from shared.number_text import loss, number, usd
from tui.services.comparison import ComparedJob, Comparison
from tui.views.job_row import status_words

BEST_SIGN = "*"
HEADERS = (
    "",
    "VARIES",
    "STATUS",
    "STEP",
    "LOSS",
    "HELD OUT",
    "BEFORE",
    "PPL",
    "TOK/S",
    "HOURS",
    "COST",
)
MARKS = "ABCDEFGH"
"""Each tells a job's curves from the others', with colours or without."""
_NO_MARK = " "


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One job; all foreign text is clean."""

    job_id: str
    mark: str
    """Of its curves, and whether it is the best: `A*`."""
    varies: str
    status: str
    step: str
    loss: str
    held_out: str
    before: str
    perplexity: str
    tokens_per_s: str
    hours: str
    cost: str
    why: str
    """Why it failed, or was not accepted; "" where it did not."""

    @property
    def cells(self) -> list[str]:
        """Under `HEADERS`."""
        figures = [self.loss, self.held_out, self.before, self.perplexity, self.tokens_per_s]
        return [self.mark, self.varies, self.status, self.step, *figures, self.hours, self.cost]


def rows_of(comparison: Comparison, drawn: Sequence[str]) -> list[ComparisonRow]:
    """In the order of the comparison; `drawn` are the ids of the jobs whose curves are shown."""
    return [_row(each, comparison.best, drawn) for each in comparison.jobs]


def drawn_at_first(comparison: Comparison) -> list[str]:
    """The ids of as many jobs with curves as can be told apart, the best first."""
    with_curves = [each.job.job_id for each in comparison.jobs if each.points]
    return with_curves[: len(MARKS)]


def mark_of(job_id: str, drawn: Sequence[str]) -> str:
    """The letter of the job's curves; a space where they are not drawn."""
    return MARKS[drawn.index(job_id)] if job_id in drawn else _NO_MARK


def _row(each: ComparedJob, best: str | None, drawn: Sequence[str]) -> ComparisonRow:
    job, state = each.job, each.job.state
    is_best = job.job_id == best
    return ComparisonRow(
        job_id=job.job_id,
        mark=mark_of(job.job_id, drawn) + (BEST_SIGN if is_best else ""),
        varies=clean_line(each.varies),
        status=status_words(job.status),
        step=f"{state.step}/{state.total_steps}" if state.total_steps else "–",
        loss=loss(state.loss),
        held_out=loss(each.eval_loss),
        before=loss(each.eval_loss_before),
        perplexity=number(each.perplexity, ".2f"),
        tokens_per_s=number(each.tokens_per_s, ",.0f"),
        hours=number(each.hours, ".2f"),
        cost="–" if each.cost_usd is None else usd(each.cost_usd),
        why=clean_line(job.error_message or ""),
    )


def failure_lines(rows: Sequence[ComparisonRow]) -> list[str]:
    """Why each job that failed did so."""
    return [f"{row.varies} ({row.job_id}): {row.why}" for row in rows if row.why]


def comparison_dicts(comparison: Comparison) -> list[dict[str, Any]]:
    """For --json and CSV: plain values, units in names."""
    return [
        {
            "job_id": each.job.job_id,
            "name": each.job.spec.name,
            **dict(each.settings),
            "status": each.job.status.value,
            "error_message": each.job.error_message,
            "step": each.job.state.step,
            "total_steps": each.job.state.total_steps,
            "loss": each.job.state.loss,
            "eval_loss_before": each.eval_loss_before,
            "eval_loss": each.eval_loss,
            "perplexity": each.perplexity,
            "tokens_per_s": each.tokens_per_s,
            "hours": each.hours,
            "cost_usd": each.cost_usd,
            "best": each.job.job_id == comparison.best,
        }
        for each in comparison.jobs
    ]


def csv_text(comparison: Comparison) -> str:
    """With a header; what is not known is empty."""
    found = comparison_dicts(comparison)
    written = io.StringIO()
    writer = csv.DictWriter(written, list(found[0]) if found else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: _cell(value) for key, value in row.items()} for row in found])
    return written.getvalue()


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets a quote before it."""
    if not isinstance(value, str):
        return value
    text = clean_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
