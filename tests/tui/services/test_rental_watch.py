from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.rental import MachineState, RentalPhase
from shared.store.store import Store
from tests.tui.rented import BEGIN, add_rented_job, machine, put
from tui.services.rental_watch import RentalSight, RentalWatch


class Told:
    """What a watch has told so far."""

    def __init__(self, store: Store) -> None:
        self.sights: list[RentalSight] = []
        self.watch = RentalWatch(store, self.sights.append)

    async def look(self) -> list[RentalSight]:
        """The news of one more look."""
        self.sights.clear()
        await self.watch.look()
        return list(self.sights)


@pytest.fixture
def told(store: Store) -> Told:
    return Told(store)


async def test_nothing_is_told_of_jobs_that_rent_nothing(told: Told, store: Store) -> None:
    assert await told.look() == []


async def test_a_job_is_told_once_and_again_when_it_changes(told: Told, store: Store) -> None:
    await add_rented_job(store)
    [first] = await told.look()
    assert (first.rental.phase, first.machines) == (RentalPhase.QUEUED, ())
    assert await told.look() == []

    await put(store, phase=RentalPhase.PROVISIONING)
    [second] = await told.look()
    assert second.rental.phase is RentalPhase.PROVISIONING


async def test_each_line_of_the_ledger_is_told_once(told: Told, store: Store) -> None:
    await add_rented_job(store)
    await store.rentals.note("job-rent", BEGIN, "asked for a machine")
    [first] = await told.look()
    await store.rentals.note("job-rent", BEGIN, "it is there")
    [second] = await told.look()
    assert [entry.message for entry in first.fresh] == ["asked for a machine"]
    assert [entry.message for entry in second.fresh] == ["it is there"]


async def test_a_machine_that_outlives_its_job_is_still_watched(told: Told, store: Store) -> None:
    await add_rented_job(store)
    rented = machine(state=MachineState.ENDING, ending_at=BEGIN)
    await store.rentals.intend(rented)
    await put(store, phase=RentalPhase.DONE)
    await told.look()

    later = BEGIN + timedelta(hours=2)
    gone = replace(rented, state=MachineState.GONE, gone_at=later)
    await store.rentals.save_machine(gone)
    [news] = await told.look()
    assert news.usd_per_hour == 0
    assert news.cost_usd(later) == news.cost_usd(later + timedelta(days=9)) == pytest.approx(4.78)
    assert await told.look() == []


async def test_what_a_job_costs_grows_with_every_machine_that_may_be_paid_for(
    told: Told, store: Store
) -> None:
    await add_rented_job(store)
    for number, state in enumerate((MachineState.NEVER, MachineState.RENTED), start=1):
        await store.rentals.intend(machine(number=number, state=state))
    [news] = await told.look()
    assert news.usd_per_hour == 2.39
    assert news.cost_usd(BEGIN + timedelta(hours=10)) == pytest.approx(23.9)
