"""`brightrun sweep show|list|cancel` and `brightrun compare`: jobs beside each other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from shared.clean_text import clean_line
from shared.dataset.writing.new_file import new_file
from shared.events import utc_now
from shared.number_text import date_and_clock, many, usd
from shared.store.stored import StoredJob
from shared.sweep import Sweep
from tui import exit_codes
from tui.commands.output import print_json, print_table, say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.comparison import Comparison, compare
from tui.services.session import Session
from tui.services.sweeps import cancel_sweep
from tui.terminal_encoding import terminal_is_unicode
from tui.views.comparison import (
    BEST_SIGN,
    HEADERS,
    comparison_dicts,
    csv_text,
    drawn_at_first,
    failure_lines,
    mark_of,
    rows_of,
)
from tui.views.overlaid_curves import OverlayLook, Shown, curves_of
from tui.views.overlaid_text import overlay_text

_CHART_ROWS = 14
_PIPE_COLUMNS = 100
_MOST_COLUMNS = 160


@dataclass(frozen=True, slots=True)
class ShowOptions:
    """What was typed."""

    curves: bool = False
    csv: Path | None = None
    """A new file that receives the table."""
    as_json: bool = False


async def show_sweep(sweep_id: str, options: ShowOptions) -> int:
    """Print the comparison of a sweep's jobs."""
    async with open_terminal_session() as session:
        sweep = await session.store.sweeps.find(sweep_id)
        jobs = await _fresh(session, await session.store.sweeps.jobs(sweep.sweep_id))
        comparison = await compare(session.store, jobs, utc_now())
        money = await session.store.sweeps.money(sweep.sweep_id, utc_now())
    described = {
        "sweep_id": sweep.sweep_id,
        "name": sweep.name,
        "budget_usd": sweep.budget_usd,
        "spent_usd": sum(job.spent_usd for job in money.values()) if money else None,
    }
    if not options.as_json:
        budget = ""
        if sweep.budget_usd is not None:
            spent = sum(job.spent_usd for job in money.values())
            budget = f", {usd(spent)} of {usd(sweep.budget_usd)} spent"
        name = f"{clean_line(sweep.name)} ({sweep.sweep_id})"
        say_line(f"{name}: {many(len(jobs), 'job')}{budget}")
    _present(comparison, options, described)
    return exit_codes.OK


async def compare_jobs(job_ids: Sequence[str], options: ShowOptions) -> int:
    """Print the comparison of any jobs."""
    async with open_terminal_session() as session:
        known = [await session.store.get_job(job_id) for job_id in job_ids]
        jobs = await _fresh(session, list({job.job_id: job for job in known}.values()))
        comparison = await compare(session.store, jobs, utc_now())
    _present(comparison, options, {})
    return exit_codes.OK


async def list_sweeps(*, as_json: bool) -> int:
    """Print every sweep, and how far its jobs have come."""
    async with open_terminal_session() as session:
        sweeps = await session.store.sweeps.all()
        found = [(each, await session.store.sweeps.jobs(each.sweep_id)) for each in sweeps]
    if as_json:
        print_json([_listed(sweep, jobs) for sweep, jobs in found])
    elif not found:
        say("no sweeps yet; `brightrun sweep --dataset FILE --vary lora_r=8,16` starts one.")
    else:
        headers = ["SWEEP", "NAME", "VARIES", "JOBS", "ENDED", "BUDGET", "CREATED"]
        print_table(headers, [_row(sweep, jobs) for sweep, jobs in found], shrinking="VARIES")
    return exit_codes.OK


async def cancel_all(sweep_id: str, reason: str) -> int:
    """Cancel every job of the sweep that has not ended."""
    async with open_terminal_session() as session:
        sweep = await session.store.sweeps.find(sweep_id)
        cancelled = await cancel_sweep(session, sweep.sweep_id, reason)
    for trouble in cancelled.troubles:
        say(trouble)
    reached = cancelled.asked - len(cancelled.troubles)
    say_line(f"{sweep.sweep_id}: {many(reached, 'job')} cancelled or being cancelled.")
    return exit_codes.AGENT if cancelled.troubles else exit_codes.OK


async def _fresh(session: Session, jobs: Sequence[StoredJob]) -> list[StoredJob]:
    """Brought up to date as far as their agents answer."""
    sights = await asyncio.gather(*(session.mirror.catch_up(job) for job in jobs))
    return [sight.job for sight in sights]


def _present(comparison: Comparison, options: ShowOptions, described: dict[str, Any]) -> None:
    if options.csv is not None:
        with new_file(options.csv) as file:
            file.write(csv_text(comparison).encode("utf-8", "replace"))
    if options.as_json:
        print_json({**described, "jobs": comparison_dicts(comparison)})
        return
    drawn = drawn_at_first(comparison) if options.curves else []
    rows = rows_of(comparison, drawn)
    table = [[row.job_id, *row.cells] for row in rows]
    print_table(["JOB", *HEADERS], table, shrinking="VARIES")
    if comparison.best is not None:
        say_line(Text(f"{BEST_SIGN} the best held-out loss", "dim"))
    for line in failure_lines(rows):
        say_line(Text(line, "red"))
    if options.curves:
        for shown in ("loss", "held out"):
            say_line("")
            _print_curves(comparison, drawn, shown)


def _print_curves(comparison: Comparison, drawn: Sequence[str], shown: Shown) -> None:
    console = Console(highlight=False)
    columns = min(console.width, _MOST_COLUMNS) if console.is_terminal else _PIPE_COLUMNS
    look = OverlayLook(shown, marker="braille" if terminal_is_unicode() else "ascii")
    points = {each.job.job_id: each.points for each in comparison.jobs}
    curves = [curves_of(mark_of(job_id, drawn), points[job_id], look) for job_id in drawn]
    say_line(overlay_text(curves, look, columns, _CHART_ROWS))


def _row(sweep: Sweep, jobs: Sequence[StoredJob]) -> list[str]:
    ended = sum(job.status.is_final for job in jobs)
    budget = "–" if sweep.budget_usd is None else usd(sweep.budget_usd)
    return [
        sweep.sweep_id,
        sweep.name,
        ", ".join(each.name for each in sweep.varied),
        str(len(jobs)),
        str(ended),
        budget,
        date_and_clock(sweep.created_at),
    ]


def _listed(sweep: Sweep, jobs: Sequence[StoredJob]) -> dict[str, Any]:
    statuses = {job.job_id: job.status.value for job in jobs}
    return {**sweep.model_dump(mode="json"), "jobs": statuses}
