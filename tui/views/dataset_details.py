"""All that is known of one training file, in lines of text; everything foreign is cleaned."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from textwrap import wrap

from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.report import DatasetReport
from shared.hyperparameters import Hyperparameters
from shared.number_text import date_and_clock, short_path, size
from tui.services.dataset_registry import FileState, KnownFile
from tui.views.dataset_report import count_pairs, group_lines, length_lines, over_long_lines
from tui.views.dataset_row import HASH_CHARACTERS, shape_words
from tui.views.job_row import STATUS_STYLES

_MOST_JOBS = 8
_NARROWEST_VALUE = 16
_NAME_WIDTH = len("tokens unfolded")
"""The longest name: so the values of all sections stand below each other."""
_STATES = {
    FileState.HERE: "",
    FileState.MODIFIED: "written to since the check: F5 tells what has changed",
    FileState.GONE: "is not there any more",
}
_NO_REPORT = "checked by an earlier version: F5 tells the rest"


def headline(known: KnownFile) -> Text:
    """Name, shape, size and hash, on one line."""
    file = known.file
    words = [shape_words(file), size(file.size_bytes), file.sha256[:HASH_CHARACTERS]]
    name = clean_line(file.name)
    return Text.assemble((name, "bold"), "  ", (clean_line("  ·  ".join(words)), "dim"))


def detail_lines(
    known: KnownFile,
    report: DatasetReport | None,
    width: int,
    hyperparameters: Hyperparameters | None = None,
) -> list[Text]:
    """The whole page but the findings, section by section."""
    sections = [_about(known, width)]
    if report is None:
        sections.append([Text(_NO_REPORT, "yellow")])
    else:
        pairs = count_pairs(report, hyperparameters or Hyperparameters())
        sections += [
            _pairs(pairs, width),
            _titled("Lengths", length_lines(report, width)),
            over_long_lines(report),
            group_lines(report.personas, "persona"),
            group_lines(report.emotional_arcs, "emotional arc"),
            group_lines(report.training_topics, "training topic"),
        ]
    sections.append(_jobs(known))
    lines: list[Text] = []
    for section in filter(None, sections):
        lines += [Text(), *section] if lines else section
    return lines


def _about(known: KnownFile, width: int) -> list[Text]:
    file = known.file
    pairs = [("file", short_path(Path(file.path)))]
    if state := _STATES[known.state]:
        pairs.append(("state", state))
    pairs.append(("checked", date_and_clock(file.checked_at)))
    if file.merged_from:
        pairs.append(("merged from", ", ".join(source.name for source in file.merged_from)))
    pairs.append(("base model", file.base_model or "–"))
    return _pairs(pairs, width)


def _jobs(known: KnownFile) -> list[Text]:
    shown = known.jobs[:_MOST_JOBS]
    lines = [
        Text.assemble(
            f"{job.job_id}  ",
            (f"{job.status.value}  ", STATUS_STYLES.get(job.status, "")),
            clean_line(job.name),
        )
        for job in shown
    ]
    if len(known.jobs) > len(shown):
        lines.append(Text(f"… and {len(known.jobs) - len(shown):,} more", "dim"))
    return _titled("Jobs that were given it", lines)


def _titled(title: str, lines: list[Text]) -> list[Text]:
    return [Text(title, style="bold"), *lines] if lines else []


def _pairs(pairs: list[tuple[str, str]], width: int) -> list[Text]:
    """Names and values; a long value goes on below itself."""
    name_width = max(_NAME_WIDTH, *(len(name) for name, _ in pairs))
    lines = []
    for name, value in pairs:
        parts = wrap(clean_line(value), max(width - name_width - 2, _NARROWEST_VALUE)) or [""]
        for label, part in zip_longest([name], parts, fillvalue=""):
            lines.append(Text.assemble((f"{label:<{name_width}}  ", "dim"), part))
    return lines
