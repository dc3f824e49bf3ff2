"""`brightrun dataset check`: what is in training files, and what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.findings import Severity
from shared.dataset.report import DatasetReport
from shared.hyperparameters import Hyperparameters
from shared.number_text import many, size
from tui import exit_codes
from tui.commands.counting import counting_encoder
from tui.commands.dataset_record import record_checks
from tui.commands.output import print_json, print_pairs, say, say_line
from tui.commands.progress_bar import shown_progress
from tui.services.dataset_check import (
    BetweenFiles,
    CheckedFile,
    CheckSettings,
    check_training_file,
    compare_files,
)
from tui.services.html_report import check_report_path, write_html_report
from tui.views.dataset_report import count_pairs, group_lines, length_lines, over_long_lines
from tui.views.finding_lines import checks_in_words, finding_line, finding_lines

_WIDEST = 100
_NARROWEST = 20
_HANGING = 2


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What was typed."""

    files: tuple[Path, ...]
    settings: CheckSettings
    held_out: tuple[Path, ...] = ()
    strict: bool = False
    as_json: bool = False
    report_path: Path | None = None
    most_findings: int | None = None
    """Of each code; None for all."""


def check_files(options: CheckOptions) -> int:
    """Print each file's report, and what is between them; 2 for errors, 1 for warnings if strict.

    Raises:
        InvalidInput: the page of HTML cannot be written.
    """
    if options.report_path is not None:
        check_report_path(options.report_path, (*options.files, *options.held_out))
    try:
        return _check(options)
    except KeyboardInterrupt:
        say("\ninterrupted.")
        return exit_codes.INTERRUPTED


def _check(options: CheckOptions) -> int:
    began = datetime.now(UTC)
    files = []
    for file in _checked(options):
        files.append(file)
        if not options.as_json:
            _print_file(file, options.most_findings)
    between = compare_files(files[: len(options.files)], files[len(options.files) :])
    if options.as_json:
        print_json(_plain(files, between, options))
    else:
        _print_between(between, options.most_findings)
    if options.report_path is not None:
        write_html_report(options.report_path, files, between, began)
        say(f"{options.report_path}: the report.")
    record_checks(files)
    return _exit_code(files, between, options.strict)


def _checked(options: CheckOptions) -> Iterator[CheckedFile]:
    encoder = counting_encoder(options.settings.base_model)
    for path in (*options.files, *options.held_out):
        with shown_progress(path.name) as on_progress:
            file = check_training_file(path, options.settings, encoder, on_progress)
        yield file


def _exit_code(files: Sequence[CheckedFile], between: Sequence[BetweenFiles], strict: bool) -> int:
    severities = {finding.severity for found in between for finding in found.findings}
    if Severity.ERROR in severities or any(file.report.has_errors for file in files):
        return exit_codes.INVALID_INPUT
    has_warnings = Severity.WARNING in severities or any(file.report.has_warnings for file in files)
    return exit_codes.JOB_FAILED if strict and has_warnings else exit_codes.OK


# --- as JSON ----------------------------------------------------------------------------------


def _plain(
    files: Sequence[CheckedFile], between: Sequence[BetweenFiles], options: CheckOptions
) -> Any:
    """One object for one file; for several a list of them, each with what it has of the others."""
    plain = [_plain_file(file) for file in files]
    if len(plain) == 1:
        return plain[0]
    for number, (file, its) in enumerate(zip(files, plain, strict=True)):
        its["is_held_out"] = number >= len(options.files)
        its["between_files"] = [
            {
                "other": str(found.other.path),
                "findings": [finding.to_dict() for finding in found.findings],
                "finding_counts": found.finding_counts,
            }
            for found in between
            if found.file is file
        ]
    return plain


def _plain_file(file: CheckedFile) -> dict[str, Any]:
    return {
        "file": str(file.path),
        "sha256": file.dataset and file.dataset.sha256,
        "size_bytes": file.dataset and file.dataset.size_bytes,
        "base_model": file.base_model,
        **file.report.to_dict(),
    }


# --- for people -------------------------------------------------------------------------------


def _print_file(file: CheckedFile, most_findings: int | None) -> None:
    report = file.report
    facts = [report.shape] + ([size(file.dataset.size_bytes)] if file.dataset else [])
    say_line(Text.assemble((clean_line(str(file.path)), "bold"), f": {', '.join(facts)}"))
    if report.conversations:
        print_pairs([("base model", file.base_model), *count_pairs(report, Hyperparameters())])
        _print_part(length_lines(report, _width()))
        _print_part(group_lines(report.personas, "persona"))
        _print_part(group_lines(report.emotional_arcs, "emotional arc"))
        _print_part(group_lines(report.training_topics, "training topic"))
        _print_part(over_long_lines(report))
    _print_part(finding_lines(report.findings, report.finding_counts, most_findings))
    say_line("")
    say_line(Text.assemble((checks_in_words(report), _verdict_style(report))))
    say_line("")


def _print_part(lines: Sequence[Text]) -> None:
    """The lines behind an empty one; nothing at all where there are none."""
    if lines:
        say_line("")
    for line in lines:
        _print_wrapped(line)


def _print_wrapped(line: Text) -> None:
    """On a terminal a long line goes on below its beginning; in a pipe it stays one."""
    console = Console()
    if not console.is_terminal or line.cell_len <= console.width:
        say_line(line)
        return
    indent = len(line.plain) - len(line.plain.lstrip())
    room = max(console.width - indent - _HANGING, _NARROWEST)
    first, *rest = line[indent:].wrap(console, room)
    say_line(Text(" " * indent) + first)
    for part in rest:
        say_line(Text(" " * (indent + _HANGING)) + part)


def _print_between(between: Sequence[BetweenFiles], most_findings: int | None) -> None:
    for found in between:
        names = f"{clean_line(found.file.path.name)} and {clean_line(found.other.path.name)}"
        say_line(Text(names, style="bold"))
        _print_part(finding_lines(found.findings, found.finding_counts, most_findings))
        say_line("")


def _verdict_style(report: DatasetReport) -> str:
    if report.has_errors:
        return "bold red"
    return "yellow" if report.has_warnings else "green"


def _width() -> int:
    return min(Console().width, _WIDEST) if sys.stdout.isatty() else _WIDEST


def print_report(
    report: DatasetReport, *, most_findings: int | None = None, as_json: bool = False
) -> None:
    """The counts and the findings in short; on stderr where stdout is for data."""
    about = "about " if report.tokens_are_estimated else ""
    facts = (
        many(report.conversations, "conversation"),
        many(report.turns, "turn"),
        f"{report.trained_targets:,} of {many(report.targets, 'target')} trained",
        f"{about}{report.tokens:,} tokens an epoch",
        f"{about}{report.longest_tokens:,} in the longest",
    )
    say_line(f"{report.shape}: {', '.join(facts)}.", as_json=as_json)
    for finding in report.findings[:most_findings]:
        say_line(finding_line(finding), as_json=as_json)
    if most_findings is not None and (left := len(report.findings) - most_findings) > 0:
        advice = "`brightrun dataset check --findings 0` lists them"
        say_line(f"... and {left} more: {advice}.", as_json=as_json)
