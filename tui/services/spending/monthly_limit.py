"""The monthly limit: what is spent and expected, and who may go beyond it, with a reason.

It keeps new machines from being rented. What runs already goes on to its own budget: ending it
would throw away what was paid for it.
"""

from __future__ import annotations

from datetime import datetime

from shared.clean_text import clean_line
from shared.errors import InvalidInput, OverMonthlyLimit
from shared.events import utc_now
from shared.money.machine_cost import machines_usd, volumes_usd
from shared.money.month import MonthMoney
from shared.money.periods import month_of, month_span
from shared.money.records import SpendingOverride
from shared.store.store import Store
from tui.services.spending.job_money import job_money

LONGEST_REASON = 300
"""Characters."""


async def month_money(
    store: Store, now: datetime, *, without: str = "", only_rented: bool = False
) -> MonthMoney:
    """The month in which `now` lies.

    Open jobs count with what they are expected to cost, or with what is left of their budget where
    nobody can say; `without` is one that does not count, and with `only_rented` those that have no
    machine now do not.
    """
    ahead = 0.0
    for stored in await store.rentals.open_ones():
        if stored.job_id == without or (only_rented and stored.rental.machine is None):
            continue
        money = await job_money(store, stored, now)
        ahead += money.most_left_usd if money.left_usd is None else money.left_usd
    spent = await spent_in_month(store, now)
    return MonthMoney(month_of(now), await store.settings.monthly_limit_usd(), spent, ahead)


async def spent_in_month(store: Store, now: datetime) -> float:
    """By all machines and volumes so far, in the month in which `now` lies; dollars."""
    span = month_span(now)
    spent = machines_usd(await store.rentals.machines(), span, now)
    return spent + volumes_usd(await store.spending.volumes(), span)


async def require_month(
    store: Store, job_id: str, expected_usd: float, over_limit: str = ""
) -> None:
    """Refuse a job that is to be rented for, unless a reason is given, which is written down.

    Raises:
        OverMonthlyLimit: the month would cost more than its limit, and there is no reason.
        InvalidInput: the reason is longer than can be kept.
    """
    reason = checked_reason(over_limit)
    now = utc_now()
    month = await month_money(store, now, without=job_id)
    if not month.is_beyond(expected_usd) or await is_allowed(store, job_id, now):
        return
    refuse_beyond(month, expected_usd, reason)
    await allow(store, month, job_id, expected_usd, reason)


def refuse_beyond(month: MonthMoney, expected_usd: float, reason: str) -> None:
    """Raises: OverMonthlyLimit: the month has no room for it, and there is no reason."""
    if month.is_beyond(expected_usd) and not reason:
        raise OverMonthlyLimit(beyond_in_words(month, expected_usd))


async def allow(
    store: Store, month: MonthMoney, job_id: str, expected_usd: float, reason: str
) -> None:
    """Write down that the job may go beyond the month's limit, and why."""
    now = utc_now()
    expected = month.with_job(expected_usd)
    override = SpendingOverride(now, month.month, job_id, month.limit_usd, expected, reason)
    await store.spending.record_override(override)


async def is_allowed(store: Store, job_id: str, now: datetime) -> bool:
    """True if somebody has let the job go beyond this month's limit."""
    return bool(await store.spending.overrides(month_of(now), job_id))


def checked_reason(typed: str) -> str:
    """One clean line; "" for none.

    Raises:
        InvalidInput: it is longer than can be kept.
    """
    reason = clean_line(typed).strip()
    if len(reason) > LONGEST_REASON:
        raise InvalidInput(
            f"The reason has {len(reason)} characters; at most {LONGEST_REASON} are kept."
        )
    return reason


def beyond_in_words(month: MonthMoney, expected_usd: float) -> str:
    """Why the limit is reached, with its figures."""
    return (
        f"With this job {month.month} is expected to cost ${month.with_job(expected_usd):,.2f}: "
        f"${month.spent_usd:,.2f} so far, ${month.open_usd:,.2f} for open jobs and "
        f"${expected_usd:,.2f} for this one. The monthly limit is ${month.limit_usd:,.2f}."
    )
