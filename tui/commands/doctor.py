"""`brightrun doctor`: what a job will need, what of it is there, and what mends the rest."""

from __future__ import annotations

import sys

from shared.number_text import many
from tui import exit_codes
from tui.commands.findings import count, print_findings
from tui.commands.output import say_line
from tui.commands.terminal_session import terminal_asker
from tui.config import load_config
from tui.services.doctor.checks import Finding, Verdict
from tui.services.doctor.examination import CONSOLE, examine
from tui.terminal_encoding import substitute_on


async def run_doctor(host: str | None, *, as_json: bool) -> int:
    """Print each finding as it comes; 1 if one of them is a failure.

    `host` is where jobs shall run; None is where they run unless their start says otherwise.
    """
    config = load_config()
    substitute_on(sys.stdout)
    coming = examine(config, host or config.default_host, terminal_asker())
    findings = await print_findings(coming, _title, as_json=as_json)
    if not as_json:
        say_line(_summary(findings))
    failed = count(findings, Verdict.FAILURE)
    return exit_codes.JOB_FAILED if failed else exit_codes.OK


def _title(part: str) -> str:
    return "This console" if part == CONSOLE else f"Jobs on {part}"


def _summary(findings: list[Finding]) -> str:
    failures, warnings = count(findings, Verdict.FAILURE), count(findings, Verdict.WARNING)
    if failures:
        return f"\n{many(failures, 'failure')}, {many(warnings, 'warning')}."
    return f"\nJobs can run there; {many(warnings, 'warning')}."
