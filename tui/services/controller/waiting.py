"""Before a machine is asked for: a place in the queue, and stock where there is none.

Nothing is paid for meanwhile, but a network volume.
"""

from __future__ import annotations

from shared.errors import ProviderError
from shared.events import utc_now
from shared.lifecycle import StopReason
from shared.machine_request import Candidate, Stock
from shared.number_text import many
from shared.rental import RentalPhase, is_at_work
from tui.services.controller import shared_budget
from tui.services.controller.questions import question_of
from tui.services.controller.work import Work
from tui.services.rented_jobs import MOVE


async def queue(work: Work) -> None:
    """Wait for a place among the jobs that run at once."""
    if work.wants_cancel:
        await work.close_with(StopReason.CANCELLED, work.stored.wish_reason)
        return
    store = work.office.session.store
    limit = work.office.settings.concurrent_jobs or await store.settings.concurrent_jobs()
    waiting = [job.job_id for job in await store.queue.waiting() if job.state.rented]
    at_work = [other for other in await store.rentals.open_ones() if is_at_work(other.rental)]
    # Not there: it has moved on a moment ago, and the next look shows that.
    place = waiting.index(work.job_id) if work.job_id in waiting else len(waiting)
    if place >= limit - len(at_work):
        await work.stay(_why(len(at_work), place))
    elif await shared_budget.begins(work):
        # The order may have changed since: who comes first has the place, and nobody else.
        await work.enter(
            RentalPhase.PROVISIONING, beside_at_most=limit - 1, next_candidate=0, failures=()
        )


def _why(at_work: int, earlier: int) -> str:
    limit = f"{many(at_work, 'job')} at work, which is the limit"
    return f"{limit}; {earlier} before it" if earlier else limit


async def wait(work: Work) -> None:
    """All candidates are taken: try again after a while, but not for ever."""
    waiting_since = work.rental.waiting_since or work.rental.since
    waited_s = (utc_now() - waiting_since).total_seconds()
    if work.wants_cancel:
        await work.close_with(StopReason.CANCELLED, work.stored.wish_reason)
    elif waited_s > work.request.wait_for_stock_hours * 3600:
        tried = "; ".join(work.rental.failures)
        await work.close_with(StopReason.NO_MACHINE, f"no machine was to be had: {tried}")
    elif work.stored.answer == MOVE:
        await work.office.session.store.rentals.answer(work.job_id, "")
        await work.enter(RentalPhase.MOVING, "as you answered", question="")
    elif (utc_now() - work.rental.since).total_seconds() > work.office.settings.stock_retry_s:
        await _try_again(work)
    else:
        await work.stay(work.rental.reason, question=question_of(work.request))


async def _try_again(work: Work) -> None:
    """Once the catalogue says that there is something; asking in vain would fill the ledger."""
    candidates = work.request.candidates
    wanted = list(dict.fromkeys(candidate.gpu_type for candidate in candidates))
    clouds = list(dict.fromkeys(candidate.cloud for candidate in candidates))
    try:
        offers = await work.office.provider.offers(wanted, candidates[0].gpu_count, clouds)
    except ProviderError as error:
        await work.stay(f"the catalogue cannot be read: {error}", since=utc_now())
        return
    if any(_is_for(offer, candidate) for offer in offers for candidate in candidates):
        await work.enter(
            RentalPhase.PROVISIONING,
            "there is stock again",
            next_candidate=0,
            failures=(),
            question="",
        )
    else:
        await work.stay("sold out; the catalogue is looked at again", since=utc_now())


def _is_for(offer: Candidate, candidate: Candidate) -> bool:
    """True if the offer is in stock, and is what the candidate asks for."""
    return (
        offer.stock is not Stock.NONE
        and (offer.gpu_type, offer.cloud) == (candidate.gpu_type, candidate.cloud)
        and candidate.data_center in (None, offer.data_center)
    )
