"""A rented job's money, and the month's, as words and lines; `~` stands before what is projected.

Imports nothing heavy: the table of jobs is drawn with it before anything is rented.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from shared.number_text import usd

if TYPE_CHECKING:
    from shared.job_state import JobState
    from shared.money.bills import BillDifference
    from shared.money.month import MonthMoney
    from shared.money.projection import Money
    from tui.services.rental_watch import RentalSight
    from tui.views.job_summary import Line


def money_of_sight(sight: RentalSight, state: JobState, now: datetime) -> Money:
    """The job's money as of now."""
    from tui.services.spending.job_money import money_now

    stored = sight.stored
    return money_now(stored.rental, stored.request, sight.machines, state, sight.outlook, now)


def money_words(money: Money) -> str:
    """`$3.20 of $20.00, $2.39/h now, ~$9.40 in all`."""
    parts = [f"{_exact(money.spent_usd)} of {_exact(money.budget_usd)}"]
    if money.usd_per_hour:
        parts.append(f"{_exact(money.usd_per_hour)}/h now")
    if money.projected is not None:
        parts.append(f"~{_exact(money.projected.expected)} in all")
    return ", ".join(parts)


def money_pairs(money: Money) -> list[tuple[str, str]]:
    """Price, cost so far, what it will be, and GPU hours."""
    projected = money.projected
    total = "" if projected is None else projected_words(money)
    return [
        ("an hour", f"{_exact(money.usd_per_hour)} now" if money.usd_per_hour else ""),
        ("cost so far", f"{_exact(money.spent_usd)} of {_exact(money.budget_usd)}"),
        ("projected", total),
        ("GPU hours", f"{money.gpu_hours:.2f}" if money.gpu_hours else ""),
    ]


def projected_words(money: Money) -> str:
    """`~$9.40 in all (~$8.90 to ~$11.20)`, and what that means beyond the budget."""
    projected = money.projected
    if projected is None:
        return ""
    words = (
        f"~{_exact(projected.expected)} in all "
        f"(~{_exact(projected.best)} to ~{_exact(projected.worst)})"
    )
    if money.is_beyond_budget:
        stop = _exact(money.stops_at_usd)
        return f"{words}: beyond its budget, the training is stopped at {stop}"
    return words


def money_dict(money: Money) -> dict[str, object]:
    """For --json; dollars."""
    projected = money.projected
    total = None
    if projected is not None:
        total = {
            "best": round(projected.best, 4),
            "expected": round(projected.expected, 4),
            "worst": round(projected.worst, 4),
        }
    return {
        "gpu_hours": round(money.gpu_hours, 4),
        "stops_at_usd": round(money.stops_at_usd, 4),
        "projected_usd": total,
        "is_beyond_budget": money.is_beyond_budget,
    }


def bill_words(difference: BillDifference) -> str:
    """`billed $1.60, ours $1.66`."""
    return f"billed {_exact(difference.billed_usd)}, ours {_exact(difference.ours_usd)}"


def bill_warning(difference: BillDifference) -> str:
    """Where it is worth a look; "" where it is not."""
    if not difference.is_notable:
        return ""
    more = "more" if difference.usd > 0 else "less"
    return (
        f"the provider's bill for machine {difference.machine.number} is "
        f"{_exact(abs(difference.usd))} {more} than our ledger says ({bill_words(difference)})"
    )


def month_words(month: MonthMoney, expected_usd: float) -> str:
    """`$120.00 of $500.00 in 2026-11 so far; ~$180.00 with open jobs and this one`."""
    return (
        f"{usd(month.spent_usd)} of {usd(month.limit_usd)} in {month.month} so far; "
        f"~{usd(month.with_job(expected_usd))} with open jobs and this one"
    )


def month_warning(month: MonthMoney, expected_usd: float) -> str:
    """From 80 % of the limit on; "" below."""
    share = month.warning_share(expected_usd)
    if share is None:
        return ""
    words = f"{share:.0%} of the monthly limit: {month_words(month, expected_usd)}"
    return f"Beyond {words}." if month.is_beyond(expected_usd) else f"More than {words}."


def month_lines(month: MonthMoney, expected_usd: float) -> list[Line]:
    """For the review of a rent."""
    from tui.views.job_summary import Line

    if warning := month_warning(month, expected_usd):
        return [Line("this month", warning, "warning")]
    return [Line("this month", month_words(month, expected_usd))]


def _exact(dollars: float) -> str:
    return f"${dollars:,.2f}"
