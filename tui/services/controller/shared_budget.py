"""The money of a sweep: each of its jobs is given a share before a machine is asked for.

The share becomes the job's own cap, which its pod enforces with nobody watching; so all jobs
together stay within the sweep's budget, and what one saves is shared out among those that begin
later. The arithmetic is in `shared.sweep`, and its transaction in the store.
"""

from __future__ import annotations

from shared.events import utc_now
from shared.lifecycle import StopReason
from shared.store.sweeps import Share
from tui.services.controller import money
from tui.services.controller.work import Work


async def begins(work: Work) -> bool:
    """True if the job may ask for a machine; else its share was too small, and it ends."""
    share = await work.office.session.store.sweeps.take_share(work.job_id, utc_now())
    if share is None:
        return True  # Of no sweep, or of one that has no budget.
    await work.reload()
    if share.usd <= 0 or not _pays_for_any(work):
        await work.close_with(StopReason.BUDGET_EXHAUSTED, _too_small(work, share))
        return False
    await work.note(f"its share of the sweep's ${share.budget_usd:,.2f} is ${share.usd:,.2f}")
    return True


def _pays_for_any(work: Work) -> bool:
    prices = [candidate.usd_per_hour for candidate in work.request.candidates]
    return any(money.affords(work.request, 0.0, usd_per_hour) for usd_per_hour in prices)


def _too_small(work: Work, share: Share) -> str:
    cheapest = min(work.request.candidates, key=lambda candidate: candidate.usd_per_hour)
    return (
        f"its share of the sweep's ${share.budget_usd:,.2f} is ${share.usd:,.2f}, too little for "
        f"{cheapest.label} at ${cheapest.usd_per_hour:.2f} an hour; nothing was rented, and the "
        "other jobs of the sweep have that money"
    )
