"""`brightrun costs`: what was spent, on what, and how the month stands against its limit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from shared.events import utc_now
from shared.number_text import date_and_clock, usd
from tui import exit_codes
from tui.commands.output import print_json, print_table, say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.cost_export import csv_text, write_csv
from tui.services.cost_report import CostReport, MonthCosts, read_cost_report
from tui.services.limit_setting import checked_limit, set_monthly_limit
from tui.services.session import Session
from tui.views.costs import (
    SUMS_EXCEED,
    CostGroup,
    CostSum,
    Grouping,
    accuracy_words,
    added_up,
    bill_words,
    grouped,
    is_beyond,
    month_share,
    month_style,
    month_words,
    notable,
    notable_words,
    outlook_words,
    share_bar,
    total_words,
)

STDOUT = Path("-")
_BAR_WIDTH = 20
_NUMBERS = ("COST", "SHARE", "GPU H", "BILLED", "LIMIT", "EXPECTED")


@dataclass(frozen=True, slots=True)
class CostOptions:
    """What was typed."""

    days: int = 30
    by: Grouping = "day"
    csv: Path | None = None
    """`-` for stdout."""
    as_json: bool = False
    reconcile: bool = False
    """Ask the provider for its bill first."""


async def show_costs(options: CostOptions) -> int:
    """Print a table with totals, or data.

    Raises:
        StoreError: the store cannot be read.
        ProviderError: the bill was asked for, and there is no answer.
        InvalidInput: the CSV file is there already, or cannot be written.
    """
    async with open_terminal_session() as session:
        if options.reconcile:
            await _reconcile(session)
        report = await read_cost_report(session.store, options.days, utc_now())
    if options.csv is not None:
        _write(options.csv, report)
        if options.csv == STDOUT:
            return exit_codes.OK
    if options.as_json:
        print_json(_plain(report, options.by))
    else:
        _print(report, options.by)
    return exit_codes.OK


async def show_limit(*, as_json: bool) -> int:
    """Print the monthly limit, and how much of it is used."""
    async with open_terminal_session() as session:
        report = await read_cost_report(session.store, 1, utc_now())
    if as_json:
        print_json(_plain_month(report.month))
    else:
        _print_month(report.month)
    return exit_codes.OK


async def set_limit(typed: str, *, as_json: bool) -> int:
    """Set the monthly limit for everybody.

    Raises:
        InvalidInput: no amount of dollars, or out of range.
    """
    limit_usd = checked_limit(typed)
    async with open_terminal_session() as session:
        before = await session.store.settings.monthly_limit_usd()
        await set_monthly_limit(session.store, limit_usd)
    say(f"the monthly limit is {usd(limit_usd, 12)} now; it was {usd(before, 12)}.")
    return await show_limit(as_json=as_json)


async def list_overrides(*, as_json: bool) -> int:
    """Print who spent beyond a monthly limit, and why; newest first."""
    async with open_terminal_session() as session:
        overrides = (await session.store.spending.overrides())[::-1]
    if as_json:
        print_json([{**asdict(item), "time": item.time.isoformat()} for item in overrides])
    elif not overrides:
        say("nobody has spent beyond a monthly limit.")
    else:
        headers = ["WHEN", "MONTH", "JOB", "LIMIT", "EXPECTED", "REASON"]
        rows = [
            [
                date_and_clock(item.time),
                item.month,
                item.job_id,
                usd(item.limit_usd, 12),
                usd(item.expected_usd, 12),
                item.reason,
            ]
            for item in overrides
        ]
        print_table(headers, rows, shrinking="REASON", numbers=_NUMBERS)
    return exit_codes.OK


async def _reconcile(session: Session) -> None:
    from tui.services.spending.reconcile import reconcile

    await reconcile(session)


def _write(path: Path, report: CostReport) -> None:
    if path != STDOUT:
        write_csv(path, report.lines)
        say(f"{path}: written.")
        return
    text = csv_text(report.lines)
    if buffer := getattr(sys.stdout, "buffer", None):
        buffer.write(text.encode("utf-8", "replace"))  # Whatever the terminal's encoding is.
    else:
        sys.stdout.write(text)


# --- as JSON ----------------------------------------------------------------------------------


def _plain(report: CostReport, by: Grouping) -> dict[str, Any]:
    total = added_up(report.lines)
    return {
        "days": report.days,
        "since": report.first_day.isoformat(),
        "until": report.now.isoformat(),
        "by": by,
        "total": _plain_sum(total),
        "groups": [
            {"key": group.key.strip(), "label": group.label, **_plain_sum(group.sum)}
            for group in grouped(report.lines, by)
        ],
        "month": _plain_month(report.month),
        "estimates": asdict(report.accuracy),
        "bill_differences": [
            {
                "job_id": each.machine.job_id,
                "machine": each.machine.name,
                "ours_usd": each.ours_usd,
                "billed_usd": each.billed_usd,
                "is_notable": each.is_notable,
            }
            for each in report.differences
        ],
    }


def _plain_sum(total: CostSum) -> dict[str, Any]:
    return {
        "usd": total.usd,
        "machine_usd": total.machine_usd,
        "storage_usd": total.storage_usd,
        "machine_hours": total.hours,
        "gpu_hours": total.gpu_hours,
        "jobs": total.jobs,
        "billed_usd": total.billed_usd if total.is_billed else None,
        "billed_of_usd": total.billed_of_usd if total.is_billed else None,
    }


def _plain_month(month: MonthCosts) -> dict[str, Any]:
    return {
        "month": f"{month.begin:%Y-%m}",
        "limit_usd": month.limit_usd,
        "spent_usd": month.spent_usd,
        "share": month_share(month),
        "open_jobs_usd": month.open_usd,
        "open_jobs_most_usd": month.open_most_usd,
        "projected_usd": month.projected_usd,
    }


# --- for people -------------------------------------------------------------------------------


def _print(report: CostReport, by: Grouping) -> None:
    total = added_up(report.lines)
    if report.lines:
        groups = grouped(report.lines, by)
        _print_groups(groups, by, total.usd)
        if by == "tag" and sum(group.sum.usd for group in groups) > total.usd + 0.005:
            say_line(Text(SUMS_EXCEED, "dim"))
        say_line("")
        say_line(Text.assemble((f"{report.days} days  ", "bold"), "  ·  ".join(total_words(total))))
    else:
        say_line(f"{report.days} days: no rented machine or volume has cost anything.")
    _print_month(report.month)
    say_line(accuracy_words(report.accuracy))
    say_line(bill_words(total, may_grow=report.bill_may_grow))
    for words in notable_words(notable(report.differences)):
        say_line(Text(f"  {words}", "yellow"))


def _print_groups(groups: Sequence[CostGroup], by: Grouping, total_usd: float) -> None:
    highest = max(group.sum.usd for group in groups)
    is_by_job = by == "job"
    rows = [
        [
            group.label,
            *([group.key.strip() if group.sum.jobs else ""] if is_by_job else []),
            usd(group.sum.usd, 12),
            share_bar(group.sum.usd / highest, _BAR_WIDTH) if highest > 0 else "",
            f"{group.sum.usd / total_usd:.0%}" if total_usd > 0 else "–",
            f"{group.sum.gpu_hours:,.1f}",
            usd(group.sum.billed_usd, 12) if group.sum.is_billed else "–",
        ]
        for group in groups
    ]
    name = by.upper()
    headers = [name, *(["ID"] if is_by_job else []), "COST", "", "SHARE", "GPU H", "BILLED"]
    print_table(headers, rows, shrinking=name, numbers=_NUMBERS)


def _print_month(month: MonthCosts) -> None:
    share = month_share(month)
    say_line(Text.assemble((month_words(month), "bold"), (f"  {share:.0%}", month_style(share))))
    say_line(Text(outlook_words(month), "yellow" if is_beyond(month) else ""))
