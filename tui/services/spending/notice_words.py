"""What is told of shares of a budget and of the monthly limit, in sentences."""

from __future__ import annotations

from shared.money.projection import Money
from shared.number_text import usd


def share_of_budget(money: Money, share: float) -> str:
    """`50 % of the budget is spent: $5.10 of $10.00; it is expected to cost ~$9.40 in all.`"""
    words = f"{share:.0%} of the budget is spent: {usd(money.spent_usd)} of {usd(money.budget_usd)}"
    if money.projected is None:
        return f"{words}."
    return f"{words}; it is expected to cost ~{usd(money.projected.expected)} in all."


def beyond_budget(money: Money) -> str:
    """That the job will be stopped before its last step, unless it becomes faster."""
    projected = money.projected
    assert projected is not None
    return (
        f"At the present speed the job needs ~{usd(projected.expected)} in all "
        f"(~{usd(projected.best)} to ~{usd(projected.worst)}), more than its budget of "
        f"{usd(money.budget_usd)}: the training is stopped at {usd(money.stops_at_usd)}, and its "
        "last checkpoint is kept where there is a network volume. Cancel it, or let it run to "
        "there and go on with `brightrun resume --budget USD`."
    )


def share_of_month(month: str, spent_usd: float, limit_usd: float, share: float) -> str:
    """Of the monthly limit; at its end, what that means."""
    words = (
        f"{share:.0%} of the monthly limit is spent: {usd(spent_usd)} of {usd(limit_usd)} "
        f"in {month}."
    )
    if share < 1:
        return words
    return (
        f"{words} Machines that run go on to their jobs' own budgets; a new one is rented only "
        "with a reason, which is recorded."
    )
