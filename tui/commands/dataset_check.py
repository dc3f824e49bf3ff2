"""`brightrun dataset check`: what is in a training file, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.text import Text

from shared.base_models import find_encoder
from shared.clean_text import clean_line
from shared.dataset.checks import DatasetReport, Finding, Severity, check_dataset
from shared.dataset.reader import read_dataset
from tui import exit_codes
from tui.commands.output import print_json, say_line
from tui.config import load_config

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


def inspect_file(
    path: Path,
    *,
    base_model: str,
    max_seq_length: int,
    cut_targets: Literal["exclude", "train"] = "exclude",
    over_long: Literal["refuse", "exclude"] = "refuse",
) -> DatasetReport:
    """Read and check the file.

    Token counts are exact where the base model's tokenizer is on this machine, and else estimates;
    the trainer counts exactly, and refuses before it loads a model.
    """
    return check_dataset(
        read_dataset(path),
        max_seq_length=max_seq_length,
        cut_targets=cut_targets,
        over_long=over_long,
        encoder=find_encoder(base_model, load_config().agent_root / "models"),
    )


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
    places = [
        finding.conversation_id,
        None if finding.turn is None else f"turn {finding.turn}",
        finding.location,
    ]
    where = clean_line(", ".join(place for place in places if place))
    quoted = f" «{clean_line(finding.snippet)}»" if finding.snippet else ""
    return Text.assemble(
        (finding.severity.value, _STYLES[finding.severity]),
        f"  {where}: " if where else "  ",
        clean_line(finding.message) + quoted,
        (f" {clean_line(finding.advice)}", "dim"),
    )
