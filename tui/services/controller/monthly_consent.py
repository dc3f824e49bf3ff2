"""A machine that would go beyond the monthly limit is not rented before somebody says why.

Only new machines are kept back. One that runs is never ended for it: the job has its own budget.
"""

from __future__ import annotations

from shared.events import utc_now
from shared.machine_request import Candidate
from shared.money.month import MonthMoney
from shared.rental import RentalPhase
from tui.services.controller.money import SHORTEST_USE_HOURS
from tui.services.controller.work import Work
from tui.services.rented_jobs import GO_ON, reason_in
from tui.services.spending.job_money import job_money
from tui.services.spending.monthly_limit import allow, is_allowed, month_money

REASON = "beyond the monthly limit"


async def must_ask(work: Work, candidate: Candidate) -> bool:
    """True once the job asks instead of renting this machine."""
    store, now = work.office.session.store, utc_now()
    month, expected_usd = await _month(work, candidate)
    if not month.is_beyond(expected_usd) or await is_allowed(store, work.job_id, now):
        return False
    await work.enter(
        RentalPhase.ASKING,
        REASON,
        question=_question(month, candidate, expected_usd),
        over_limit=month.month,
    )
    return True


async def ask(work: Work) -> None:
    """Go on once there is a reason, or once the limit leaves room again."""
    store, now = work.office.session.store, utc_now()
    candidate = work.candidate or work.request.candidates[0]
    month, expected_usd = await _month(work, candidate)
    reason = reason_in(work.stored.answer)
    if reason:
        await allow(store, month, work.job_id, expected_usd, reason)
        await store.rentals.answer(work.job_id, "")
        await work.note(f"rented beyond the monthly limit: {reason}", "warning")
        await work.enter(
            RentalPhase.PROVISIONING, f"as you answered: {reason}", question="", over_limit=""
        )
    elif not month.is_beyond(expected_usd) or await is_allowed(store, work.job_id, now):
        await work.enter(
            RentalPhase.PROVISIONING, "the monthly limit leaves room", question="", over_limit=""
        )
    else:
        # The first one stays: a question that changes with every cent would be told each time.
        await work.stay(REASON)


async def _month(work: Work, candidate: Candidate) -> tuple[MonthMoney, float]:
    """What the other machines make of the month, and what this one adds; dollars.

    Jobs without a machine do not count: they are looked at when their turn comes.
    """
    store, now = work.office.session.store, utc_now()
    month = await month_money(store, now, without=work.job_id, only_rented=True)
    left_usd = (await job_money(store, work.stored, now)).left_usd
    if left_usd is None:  # It was let in when it was started; only the least of it is certain.
        left_usd = candidate.usd_per_hour * SHORTEST_USE_HOURS
    return month, left_usd


def _question(month: MonthMoney, candidate: Candidate, expected_usd: float) -> str:
    return (
        f"The next machine ({candidate.label}, ${candidate.usd_per_hour:.2f} an hour) would bring "
        f"{month.month} to about ${month.with_job(expected_usd):,.0f}, and the monthly limit is "
        f"${month.limit_usd:,.2f}. Nothing is rented before you answer '{GO_ON}: REASON' (the "
        "reason is recorded), raise the limit with `brightrun costs limit USD`, or cancel the job."
    )
