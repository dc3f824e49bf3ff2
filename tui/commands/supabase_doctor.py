"""`brightrun supabase doctor`: what the mirror needs, and what mends the rest."""

from __future__ import annotations

import sys

from shared.number_text import many
from tui import exit_codes
from tui.commands.findings import count, print_findings
from tui.commands.output import say_line
from tui.config import load_config
from tui.services.doctor.checks import Verdict
from tui.services.supabase.doctor import Project, examine_supabase
from tui.terminal_encoding import substitute_on


async def run_supabase_doctor(*, as_json: bool) -> int:
    """Print each finding as it comes; 1 if one of them is a failure."""
    substitute_on(sys.stdout)
    coming = examine_supabase(Project(load_config()))
    findings = await print_findings(coming, lambda _: "Supabase", as_json=as_json)
    failures, warnings = count(findings, Verdict.FAILURE), count(findings, Verdict.WARNING)
    if not as_json:
        begin = many(failures, "failure") if failures else "Supabase is ready"
        say_line(f"\n{begin}; {many(warnings, 'warning')}.")
    return exit_codes.JOB_FAILED if failures else exit_codes.OK
