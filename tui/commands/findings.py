"""How a doctor's findings are printed, whichever doctor it was."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict

from rich.text import Text

from tui.commands.output import print_json, say_line
from tui.services.doctor.checks import Finding, Verdict

_SIGNS = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.FAILURE: ("✗", "red"),
    Verdict.SKIPPED: ("-", "dim"),
}
"""A verdict is never told by its colour alone."""

_NAME_WIDTH = 19


async def print_findings(
    coming: AsyncGenerator[Finding], title_of: Callable[[str], str], *, as_json: bool
) -> list[Finding]:
    """Print each as it comes, under its part's title; as JSON all of them at the end."""
    findings: list[Finding] = []
    async with aclosing(coming):
        async for finding in coming:
            if not as_json:
                if not findings or findings[-1].part != finding.part:
                    gap = "\n" if findings else ""
                    say_line(Text(f"{gap}{title_of(finding.part)}", style="bold"))
                _print(finding)
            findings.append(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    return findings


def count(findings: list[Finding], verdict: Verdict) -> int:
    """How many ended so."""
    return sum(finding.verdict is verdict for finding in findings)


def _print(finding: Finding) -> None:
    sign, style = _SIGNS[finding.verdict]
    name = finding.check.ljust(_NAME_WIDTH)
    say_line(Text.assemble((sign, style), f" {name}", (finding.found, _found_style(finding))))
    if finding.fix:
        say_line(f"  {'':{_NAME_WIDTH}}› {finding.fix}")


def _found_style(finding: Finding) -> str:
    return "dim" if finding.verdict is Verdict.SKIPPED else ""
