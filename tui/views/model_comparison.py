"""Versions side by side, a column each: what differs in their settings, then the figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from shared.clean_text import clean_line
from shared.number_text import date_and_clock, loss, number, size, usd
from tui.services.model_comparison import ComparedVersion, differing
from tui.views.comparison import MARKS
from tui.views.model_rows import status_of
from tui.views.overlaid_text import colour_of

Rows = list[tuple[str, list[str]]]
_DASH = "–"
_LONGEST_LABEL = 20
_LEAST_COLUMN = 8
_GAP = 2
SAME_SETTINGS = "All settings are the same."


def settings_rows(compared: Sequence[ComparedVersion]) -> Rows:
    """The settings that are not the same in all of them."""
    versions = [each.version for each in compared]
    return [
        (name, [clean_line(each.facts.settings.get(name, _DASH)) for each in versions])
        for name in differing(versions)
    ]


def figure_rows(compared: Sequence[ComparedVersion]) -> Rows:
    """What each has come to."""
    facts = [each.version.facts for each in compared]
    costs = [_DASH if each.cost_usd is None else usd(each.cost_usd) for each in facts]
    return [
        ("status", [status_of(each.version) for each in compared]),
        ("job", [clean_line(each.version.job_id) for each in compared]),
        ("base model", [clean_line(each.base_model) for each in facts]),
        ("dataset", [clean_line(each.dataset_name) for each in facts]),
        ("made", [date_and_clock(each.version.created_at) for each in compared]),
        ("steps", [f"{each.steps:,}" for each in facts]),
        ("loss", [loss(each.loss) for each in facts]),
        ("held-out loss", [loss(each.eval_loss) for each in facts]),
        ("before training", [loss(each.eval_loss_before) for each in facts]),
        ("perplexity", [number(each.perplexity, ".2f") for each in facts]),
        ("tokens/s", [number(each.tokens_per_s, ",.0f") for each in facts]),
        ("hours", [number(each.hours, ".2f") for each in facts]),
        ("cost", costs),
        ("size", [size(each.size_bytes) for each in facts]),
        ("files", [clean_line(", ".join(each.files)) or _DASH for each in compared]),
    ]


def headings(compared: Sequence[ComparedVersion]) -> list[str]:
    """`A empathy:3`: the letter is that of its curves."""
    pairs = zip(MARKS, compared, strict=False)
    return [f"{mark} {clean_line(each.version.reference)}" for mark, each in pairs]


def comparison_text(compared: Sequence[ComparedVersion], width: int) -> Text:
    """The whole table, no line longer than `width`."""
    label_width = min(_LONGEST_LABEL, max(width // 4, _LEAST_COLUMN))
    left = width - label_width - _GAP
    column = max(left // max(len(compared), 1) - _GAP, _LEAST_COLUMN)
    settings = settings_rows(compared)
    lines = [_line("", headings(compared), label_width, column, coloured=True)]
    if settings:
        lines += [_line(name, values, label_width, column) for name, values in settings]
    else:
        lines.append(Text(SAME_SETTINGS, "dim"))
    lines.append(Text())
    lines += [_line(name, values, label_width, column) for name, values in figure_rows(compared)]
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "crop"
    return text


def comparison_dicts(compared: Sequence[ComparedVersion]) -> dict[str, Any]:
    """For --json: plain values, units in names."""
    return {
        "differing_settings": dict(_raw_settings(compared)),
        "versions": [{**each.version.to_dict(), "files": list(each.files)} for each in compared],
    }


def comparison_csv(compared: Sequence[ComparedVersion]) -> str:
    """The same table, one row for each version; what is not known is empty."""
    names = [name for name, _ in _raw_settings(compared)]
    facts_of = [each.version.facts for each in compared]
    written = io.StringIO()
    writer = csv.writer(written)
    figures = ("steps", "loss", "eval_loss_before", "eval_loss", "perplexity", "tokens_per_s")
    money = ("hours", "cost_usd", "size_bytes")
    texts = ("job_name", "base_model", "dataset_name")
    writer.writerow(["model", "version", "status", "job_id", *texts, *figures, *money, *names])
    for each, facts in zip(compared, facts_of, strict=True):
        version = each.version
        row: list[object] = [version.model_name, version.version, status_of(version)]
        row += [version.job_id, *(getattr(facts, name) for name in (*texts, *figures, *money))]
        row += [facts.settings.get(name, "") for name in names]
        writer.writerow([_cell(value) for value in row])
    return written.getvalue()


def _raw_settings(compared: Sequence[ComparedVersion]) -> Rows:
    versions = [each.version for each in compared]
    return [
        (name, [each.facts.settings.get(name, "") for each in versions])
        for name in differing(versions)
    ]


def _line(
    label: str, values: Sequence[str], label_width: int, column: int, *, coloured: bool = False
) -> Text:
    line = Text.assemble((_fitted(label, label_width), "dim"))
    for value in values:
        style = f"bold {colour_of(value[:1])}" if coloured else ""
        shown = _fitted_reference(value, column) if coloured else _fitted(value, column)
        line.append(" " * _GAP).append(shown, style)
    return line


def _fitted_reference(reference: str, width: int) -> str:
    """The name is cut rather than the version, by which one tells them apart."""
    name, _, version = reference.rpartition(":")
    if cell_len(reference) <= width:
        return _fitted(reference, width)
    return _fitted(name, max(width - len(version) - 1, 1)) + f":{version}"


def _fitted(value: str, width: int) -> str:
    """Exactly `width` cells; what does not fit ends in an ellipsis."""
    if cell_len(value) > width:
        value = set_cell_size(value, width - 1) + "…"
    return set_cell_size(value, width)


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets a quote before it."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = clean_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
