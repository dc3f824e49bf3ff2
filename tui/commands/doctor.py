"""`brightrun doctor`: what a job will need, what of it is there, and what mends the rest."""

from __future__ import annotations

import sys
from contextlib import aclosing
from dataclasses import asdict

from rich.text import Text

from shared.number_text import many
from tui import exit_codes
from tui.commands.output import print_json, say_line
from tui.commands.terminal_session import terminal_asker
from tui.config import load_config
from tui.services.doctor.checks import Finding, Verdict
from tui.services.doctor.examination import CONSOLE, examine
from tui.terminal_encoding import substitute_on

_SIGNS = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.FAILURE: ("✗", "red"),
    Verdict.SKIPPED: ("-", "dim"),
}
"""A verdict is never told by its colour alone."""

_NAME_WIDTH = 19


async def run_doctor(host: str | None, *, as_json: bool) -> int:
    """Print each finding as it comes; 1 if one of them is a failure.

    `host` is where jobs shall run; None is where they run unless their start says otherwise.
    """
    config = load_config()
    findings: list[Finding] = []
    substitute_on(sys.stdout)
    async with aclosing(examine(config, host or config.default_host, terminal_asker())) as coming:
        async for finding in coming:
            if not as_json:
                _print(finding, is_first=not findings or findings[-1].part != finding.part)
            findings.append(finding)
    failures = [finding for finding in findings if finding.verdict is Verdict.FAILURE]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        say_line(_summary(findings, len(failures)))
    return exit_codes.JOB_FAILED if failures else exit_codes.OK


def _print(finding: Finding, *, is_first: bool) -> None:
    if is_first:
        title = "This console" if finding.part == CONSOLE else f"\nJobs on {finding.part}"
        say_line(Text(title, style="bold"))
    sign, style = _SIGNS[finding.verdict]
    name = finding.check.ljust(_NAME_WIDTH)
    say_line(Text.assemble((sign, style), f" {name}", (finding.found, _found_style(finding))))
    if finding.fix:
        say_line(f"  {'':{_NAME_WIDTH}}› {finding.fix}")


def _found_style(finding: Finding) -> str:
    return "dim" if finding.verdict is Verdict.SKIPPED else ""


def _summary(findings: list[Finding], failures: int) -> str:
    warnings = sum(finding.verdict is Verdict.WARNING for finding in findings)
    if failures:
        return f"\n{many(failures, 'failure')}, {many(warnings, 'warning')}."
    return f"\nJobs can run there; {many(warnings, 'warning')}."
