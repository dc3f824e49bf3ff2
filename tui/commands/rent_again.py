"""Consent to renting for a job that was rented for before: the same machines, at today's prices."""

from __future__ import annotations

from shared.errors import InvalidInput
from shared.store.stored import StoredJob
from tui.commands.consent import agreed
from tui.commands.output import say
from tui.services.session import Session


async def agreed_to_rent_again(
    session: Session, job: StoredJob, budget_usd: float | None, *, yes: bool
) -> bool:
    """True for a job that costs nothing, too.

    Raises:
        InvalidInput: a budget for a job for which nothing is rented; or nobody is here to agree.
    """
    stored = await session.store.rentals.get(job.job_id)
    if stored is None:
        if budget_usd is not None:
            raise InvalidInput(f"--budget: nothing is rented for {job.job_id}.")
        return True
    budget = budget_usd or stored.request.budget_usd
    first = stored.request.candidates[0]
    price = f"{first.label} first, ${first.usd_per_hour:.2f}/h when it was agreed"
    if agreed(f"Rent again ({price}), for up to ${budget:,.2f}?", yes=yes):
        return True
    say("nothing was rented.")
    return False
