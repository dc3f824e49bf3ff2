"""The report of a check as one page of HTML: nothing is loaded, and nothing in it can run.

Everything foreign is cleaned and escaped in `_text`, the only way into the page for it; the page's
own policy forbids scripts and requests besides.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from shared.clean_text import clean_line
from shared.dataset.findings import Severity
from shared.dataset.report import DatasetReport, Group
from shared.errors import InvalidInput
from shared.hyperparameters import Hyperparameters
from shared.manifest import write_atomic
from shared.number_text import date_and_clock, many, size
from tui.services.dataset_check import BetweenFiles, CheckedFile
from tui.services.html_histogram import histogram
from tui.views.dataset_report import NO_NAME, count_pairs, length_summary, what_is_lost
from tui.views.finding_lines import FindingGroup, checks_in_words, finding_groups

_STYLE = Path(__file__).with_name("html_report.css")
_HEADINGS = {Severity.ERROR: "Errors", Severity.WARNING: "Warnings", Severity.NOTE: "Notes"}


def write_html_report(
    path: Path, files: Sequence[CheckedFile], between: Sequence[BetweenFiles], checked_at: datetime
) -> None:
    """Write the page; an earlier one of that name is replaced.

    Raises:
        InvalidInput: it cannot be written there.
    """
    check_report_path(path, files=[file.path for file in files])
    try:
        write_atomic(path, report_page(files, between, checked_at))
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written ({error.strerror}).") from error


def check_report_path(path: Path, files: Iterable[Path]) -> None:
    """Say what is wrong with the name before anybody waits for the report on these files.

    Raises:
        InvalidInput: it is no page's name, or one of the files, or its directory is not there.
    """
    if path.suffix.lower() not in {".html", ".htm"}:
        # A slip of the hand must not put a page where a training file was.
        raise InvalidInput(f"{path}: a report is a file of HTML: let its name end with .html.")
    if any(path.resolve() == file.resolve() for file in files):
        raise InvalidInput(f"{path}: is one of the files to check; write the report elsewhere.")
    if not path.parent.is_dir():
        raise InvalidInput(f"{path}: cannot be written: there is no directory {path.parent}.")


def report_page(
    files: Sequence[CheckedFile], between: Sequence[BetweenFiles], checked_at: datetime
) -> str:
    """The whole page; `between` is what was found between the files."""
    style = _STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    names = ", ".join(file.path.name for file in files)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(names)}: dataset check</title>",
            f"<style>{style}</style></head><body>",
            "<h1>Dataset check</h1>",
            f'<p class="muted">{date_and_clock(checked_at)} · {many(len(files), "file")} · '
            "made by brightrun; what stands here is what was in the files then</p>",
            *map(_file_section, files),
            _between_section(between),
            "<footer>Tokens are those of one epoch with nothing held out. Steps are counted for "
            "the default batch. Snippets are shortened, and cleaned of control characters."
            "</footer></body></html>",
        ]
    )


# --- one file ---------------------------------------------------------------------------------


def _file_section(file: CheckedFile) -> str:
    report = file.report
    return "\n".join(
        [
            f"<section><h2>{_text(file.path.name)}</h2>",
            _origin(file),
            _tiles(report),
            _pairs(count_pairs(report, Hyperparameters())),
            _lengths(report),
            _groups(report),
            _over_long(report),
            _findings(report),
            "</section>",
        ]
    )


def _origin(file: CheckedFile) -> str:
    parts = [_text(file.report.shape), f"base model {_text(file.base_model)}"]
    if file.dataset is not None:
        parts[1:1] = [size(file.dataset.size_bytes), f"<code>sha256 {file.dataset.sha256}</code>"]
    return f'<p class="muted">{" · ".join(parts)}</p>'


def _tiles(report: DatasetReport) -> str:
    about = "about " if report.tokens_are_estimated else ""
    tiles = [
        (f"{report.conversations:,}", "conversations"),
        (f"{report.trained_targets:,}", f"of {many(report.targets, 'target')} trained"),
        (f"{report.tokens:,}", f"{about}tokens an epoch"),
        (f"{report.longest_tokens:,}", f"{about}tokens in the longest"),
        *(
            (f"{count:,}", its.value if count == 1 else f"{its.value}s")
            for its in (Severity.ERROR, Severity.WARNING)
            for count in [report.count(its)]
        ),
    ]
    inner = "".join(
        f'<div class="tile"><b>{value}</b><span>{of}</span></div>' for value, of in tiles
    )
    return f'<div class="tiles">{inner}</div>'


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in pairs
    )
    return f"<table>{rows}</table>"


def _lengths(report: DatasetReport) -> str:
    picture = histogram(report)
    if not picture:
        return ""
    return f'<h3>Lengths</h3>{picture}<p class="muted">{_text(length_summary(report))}</p>'


def _groups(report: DatasetReport) -> str:
    tables = [
        _group_table("persona", report.personas),
        _group_table("emotional arc", report.emotional_arcs),
        _group_table("training topic", report.training_topics),
    ]
    inner = "".join(tables)
    return f'<h3>Scaffolding</h3><div class="columns">{inner}</div>' if inner else ""


def _group_table(title: str, groups: Sequence[Group]) -> str:
    if not any(group.name for group in groups):
        return ""
    rows = [
        [
            group.name or NO_NAME,
            f"{group.conversations:,}",
            f"{group.targets:,}",
            f"{group.tokens:,}",
        ]
        for group in groups
    ]
    return _table([title, "conv.", "targets", "tokens"], rows, figures={1, 2, 3})


def _over_long(report: DatasetReport) -> str:
    if not report.over_long_count:
        return ""
    rows = [
        [
            row.conversation_id,
            f"{row.tokens:,}",
            f"{row.cut_tokens:,}",
            what_is_lost(row),
            row.location,
        ]
        for row in report.over_long
    ]
    head = ["conversation", "tokens", "too many", "targets lost", "place"]
    return (
        f"<h3>Longer than max_seq_length {report.max_seq_length:,}</h3>"
        '<p class="muted">What cutting there would lose. Bright Run never cuts: such a row stops '
        "the start, or is left out.</p>"
        + _table(head, rows, figures={1, 2})
        + _left(report.over_long_count - len(rows))
    )


# --- findings ---------------------------------------------------------------------------------


def _findings(report: DatasetReport) -> str:
    groups = finding_groups(report.findings, report.finding_counts)
    parts = [f"<h3>Findings: {checks_in_words(report)}</h3>"]
    for severity in Severity:
        of_severity = [group for group in groups if group.severity is severity]
        if of_severity:
            parts.append(f'<h3>{_HEADINGS[severity]} <span class="muted">')
            parts.append(f"{report.count(severity):,}</span></h3>")
            parts += map(_finding_group, of_severity)
    return "".join(parts)


def _finding_group(group: FindingGroup) -> str:
    times = f' <span class="muted">{group.count:,} times</span>' if group.count > 1 else ""
    message = f"<p>{_text(group.message)}</p>" if group.message else ""
    advice = f'<p class="advice">→ {_text(group.advice)}</p>' if group.advice else ""
    return (
        f'<div class="kind {group.severity.value}"><p><span class="severity">'
        f"{group.severity.value}</span> <code>{_text(group.code)}</code>{times}</p>"
        f"{message}{advice}{_places(group)}{_left(group.count - len(group.findings))}</div>"
    )


def _places(group: FindingGroup) -> str:
    """A table of the places, with the columns that hold anything."""
    columns = {
        "conversation": [finding.conversation_id or "" for finding in group.findings],
        "turn": ["" if item.turn is None else str(item.turn) for item in group.findings],
        "place": [finding.location or "" for finding in group.findings],
        "text there": [finding.snippet or "" for finding in group.findings],
        "": [] if group.message else [finding.message for finding in group.findings],
        "advice": [] if group.advice else [finding.advice for finding in group.findings],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    if not filled:
        return ""
    figures = {number for number, name in enumerate(filled) if name == "turn"}
    return _table(list(filled), list(zip(*filled.values(), strict=True)), figures=figures)


def _between_section(between: Sequence[BetweenFiles]) -> str:
    if not between:
        return ""
    parts = ["<section><h2>Between the files</h2>"]
    for found in between:
        parts.append(f"<h3>{_text(found.file.path.name)} and {_text(found.other.path.name)}</h3>")
        parts += map(_finding_group, finding_groups(found.findings, found.finding_counts))
    return "".join([*parts, "</section>"])


# --- pieces -----------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], figures: Iterable[int] = ()) -> str:
    classes = [' class="figure"' if number in set(figures) else "" for number in range(len(head))]
    top = "".join(f"<th{its}>{_text(name)}</th>" for its, name in zip(classes, head, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{its}>{_text(cell)}</td>" for its, cell in zip(classes, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _left(count: int) -> str:
    return f'<p class="muted">… and {count:,} more</p>' if count > 0 else ""


def _text(foreign: str) -> str:
    """Text for the page, between tags or inside quotes: cleaned, on one line, escaped."""
    return html.escape(clean_line(foreign), quote=True)
