"""`brightrun dataset check`: what is in a training file, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.checks import DatasetReport, Finding, Severity
from tui import exit_codes
from tui.commands.output import print_json, say_line
from tui.services.inspection import inspect_file

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def check_file(path: Path, *, model: str, max_seq_length: int, strict: bool, as_json: bool) -> int:
    """Print the report; 2 if the file has errors, 1 for warnings where `strict`.

    Raises:
        InvalidDataset: the file cannot be read at all.
    """
    report = inspect_file(path, base_model=model, max_seq_length=max_seq_length)
    if as_json:
        print_json({"file": str(path), "base_model": model, **report.to_dict()})
    else:
        print_report(report)
    if report.has_errors:
        return exit_codes.INVALID_INPUT
    return exit_codes.JOB_FAILED if strict and report.has_warnings else exit_codes.OK


def print_report(
    report: DatasetReport, *, most_findings: int | None = None, as_json: bool = False
) -> None:
    """The counts and the findings, errors first; on stderr where stdout is for data."""
    about = "about " if report.tokens_are_estimated else ""
    say_line(
        f"{report.shape}: {report.conversations} conversations, {report.turns} turns, "
        f"{report.trained_targets} of {report.targets} targets trained, "
        f"{about}{report.tokens} tokens an epoch, {about}{report.longest_tokens} in the longest.",
        as_json=as_json,
    )
    for finding in report.findings[:most_findings]:
        say_line(_line(finding), as_json=as_json)
    if most_findings is not None and (left := len(report.findings) - most_findings) > 0:
        say_line(f"... and {left} more: `brightrun dataset check` lists all.", as_json=as_json)


def _line(finding: Finding) -> Text:
    where = clean_line(", ".join(finding.places))
    quoted = f" «{clean_line(finding.snippet)}»" if finding.snippet else ""
    return Text.assemble(
        (finding.severity.value, _STYLES[finding.severity]),
        f"  {where}: " if where else "  ",
        clean_line(finding.message) + quoted,
        (f" {clean_line(finding.advice)}", "dim"),
    )
