"""What a planned rent means for the month; rents nothing."""

from __future__ import annotations

from shared.events import utc_now
from shared.money.month import MonthMoney
from shared.store.store import Store
from tui.services.rent_plan import RentPlan
from tui.services.spending.monthly_limit import month_money


def expected_cost_usd(plan: RentPlan) -> float | None:
    """Of the machine that is tried first; None where nobody can say."""
    cost = plan.options[0].forecast.cost_usd
    return None if cost is None else cost.expected


def counted_usd(plan: RentPlan) -> float:
    """What the month is charged with: the expected cost, or else the whole budget."""
    budget = plan.wanted.budget_usd
    expected = expected_cost_usd(plan)
    if expected is None:
        return budget or 0.0
    return expected if budget is None else min(expected, budget)


async def month_before(store: Store, job_id: str) -> MonthMoney:
    """This month without the job."""
    return await month_money(store, utc_now(), without=job_id)
