"""The money of one rented job, with what the store knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shared.job_state import JobState
from shared.machine_request import MachineRequest
from shared.money.projection import Money, Outlook, money_of, price_ahead
from shared.money.reserve import reserve_usd
from shared.rental import Machine, Rental
from shared.store.rentals import StoredRental
from shared.store.store import Store
from tui.services.spending.outlook import outlook_of


def money_now(
    rental: Rental,
    request: MachineRequest,
    machines: Sequence[Machine],
    state: JobState,
    outlook: Outlook | None,
    now: datetime,
) -> Money:
    """As of now, with what is kept back for the last transfer."""
    reserve = reserve_usd(request, price_ahead(machines, rental, request))
    return money_of(machines, rental, request, state, outlook, now, reserve_usd=reserve)


async def job_money(store: Store, stored: StoredRental, now: datetime) -> Money:
    """As of now.

    Raises:
        UnknownJob: the store has no such job.
    """
    machines = await store.rentals.machines(stored.job_id)
    job = await store.get_job(stored.job_id)
    outlook = await outlook_of(store, stored.job_id)
    return money_now(stored.rental, stored.request, machines, job.state, outlook, now)
