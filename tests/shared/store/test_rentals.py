from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import UnknownJob
from shared.lifecycle import StopReason
from shared.machine_request import Candidate, MachineRequest
from shared.rental import Machine, MachinePurpose, MachineState, Rental, RentalPhase, Wish
from shared.store.rentals import RentalConflict, StoredRental
from shared.store.store import Store, open_store
from tests.shared.store.journal import job_spec

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SOON = timedelta(seconds=30)
REQUEST = MachineRequest(
    candidates=(Candidate(gpu_type="H100_PCIE", usd_per_hour=2.4, data_center="US-KS-2"),),
    budget_usd=10.0,
    network_volume_id="vol-1",
)


def machine(number: int = 1, **values: Any) -> Machine:
    return Machine(
        **{
            "name": f"brightrun-0a1b2c3d-job-one-{number}",
            "job_id": "job-one",
            "provider": "runpod",
            "purpose": MachinePurpose.TRAIN,
            "number": number,
            "label": "H100_PCIE secure US-KS-2",
            "state": MachineState.INTENDED,
            "usd_per_hour": 2.4,
            "created_at": NOW + timedelta(minutes=number),
            **values,
        }
    )


async def rented_job(store: Store, job_id: str = "job-one") -> StoredRental:
    await store.add_job(job_spec(job_id), f"runpod:{job_id}", None, REQUEST)
    stored = await store.rentals.get(job_id)
    assert stored is not None
    return stored


async def test_a_new_job_is_queued_with_all_that_was_agreed(store: Store) -> None:
    stored = await rented_job(store)

    assert (stored.request, stored.version) == (REQUEST, 1)
    assert (stored.rental.phase, stored.rental.machine) == (RentalPhase.QUEUED, None)
    assert (stored.wish, stored.answer) == (Wish.RUN, "")
    assert [open_one.job_id for open_one in await store.rentals.open_ones()] == ["job-one"]


async def test_a_job_on_a_machine_of_the_users_own_is_not_in_the_ledger(store: Store) -> None:
    await store.add_job(job_spec(), "local")

    assert await store.rentals.get("job-one") is None
    assert await store.rentals.open_ones() == []
    with pytest.raises(UnknownJob):
        await store.rentals.wish("job-one", Wish.CANCEL, "enough")


async def test_whoever_goes_on_from_an_older_state_is_refused_and_writes_nothing(
    store: Store,
) -> None:
    before = await rented_job(store)
    mine = before.rental.model_copy(update={"phase": RentalPhase.PROVISIONING, "rentals": 1})
    theirs = before.rental.model_copy(update={"phase": RentalPhase.ENDING})

    after = await store.rentals.replace(before, mine)
    with pytest.raises(RentalConflict):
        await store.rentals.replace(before, theirs)

    assert after.version == before.version + 1
    assert await store.rentals.get("job-one") == after
    assert after.rental == mine


async def test_of_two_stores_that_go_on_at_once_one_wins(store: Store, database: Path) -> None:
    before = await rented_job(store)
    async with open_store(database) as other:
        moves = [
            each.rentals.replace(before, before.rental.model_copy(update={"rentals": number}))
            for number, each in enumerate((store, other), start=1)
        ]
        results = await asyncio.gather(*moves, return_exceptions=True)

    assert sorted(isinstance(result, RentalConflict) for result in results) == [False, True]


async def test_a_wish_and_an_answer_survive_whatever_the_controller_writes(store: Store) -> None:
    before = await rented_job(store)
    await store.rentals.wish("job-one", Wish.CANCEL, "enough")
    await store.rentals.wish("job-one", Wish.CANCEL, "too late")
    await store.rentals.answer("job-one", "go on")

    after = await store.rentals.replace(before, before.rental)

    assert (after.wish, after.wish_reason, after.answer) == (Wish.CANCEL, "enough", "go on")


async def test_a_job_that_is_done_is_not_open(store: Store) -> None:
    before = await rented_job(store)
    done = {"phase": RentalPhase.DONE, "outcome": StopReason.CANCELLED}

    after = await store.rentals.replace(before, before.rental.model_copy(update=done))

    assert await store.rentals.open_ones() == []
    assert after.rental.outcome is StopReason.CANCELLED


async def test_what_was_agreed_can_be_changed(store: Store) -> None:
    await rented_job(store)
    more = REQUEST.model_copy(update={"budget_usd": 99.0})

    await store.rentals.change_request("job-one", more)

    stored = await store.rentals.get("job-one")
    assert stored is not None and stored.request == more


async def test_a_name_is_written_down_only_once(store: Store) -> None:
    await rented_job(store)
    await store.rentals.intend(machine())

    with pytest.raises(RentalConflict, match="written down already"):
        await store.rentals.intend(machine(label="another"))

    assert await store.rentals.machines("job-one") == [machine()]


async def test_a_machine_never_goes_back_to_an_earlier_state(store: Store) -> None:
    await rented_job(store)
    intended = machine()
    await store.rentals.intend(intended)
    states = list(MachineState)
    for later in states:
        kept = await store.rentals.save_machine(
            replace(intended, state=later, machine_id="pod-1", last_error=f"to {later}")
        )
        assert kept.state is later
        for earlier in states[: states.index(later)]:
            same = await store.rentals.save_machine(
                replace(intended, state=earlier, last_error=f"back to {earlier}")
            )
            assert same == kept


async def test_a_machines_id_stays_once_it_is_known(store: Store) -> None:
    await rented_job(store)
    await store.rentals.intend(machine())
    rented = replace(machine(), state=MachineState.RENTED, machine_id="pod-1", rented_at=NOW)
    await store.rentals.save_machine(rented)

    stale = await store.rentals.save_machine(replace(machine(), state=MachineState.ENDING))

    assert (stale.state, stale.machine_id) == (MachineState.ENDING, "pod-1")


async def test_machines_are_found_by_job_and_state_in_the_order_of_their_asking(
    store: Store,
) -> None:
    await rented_job(store)
    await rented_job(store, "job-two")
    second = machine(2)
    other = machine(3, name="other", job_id="job-two")
    for each in (second, machine(1), other):
        await store.rentals.intend(each)
    await store.rentals.save_machine(replace(second, state=MachineState.NEVER))

    assert [m.number for m in await store.rentals.machines("job-one")] == [1, 2]
    open_ones = await store.rentals.machines(states=[MachineState.INTENDED])
    assert [m.name for m in open_ones] == [machine(1).name, "other"]
    assert await store.rentals.machine("other") == other
    assert await store.rentals.machine("nobody") is None


async def test_the_ledger_counts_its_lines_and_repeats_none(store: Store) -> None:
    await rented_job(store)
    for message in ("asked", "asked", "rented", "asked"):
        await store.rentals.note("job-one", NOW, message)
    await store.rentals.note("job-one", NOW, "lost", "warning")

    lines = await store.rentals.ledger("job-one")

    assert [(line.seq, line.message) for line in lines] == [
        (1, "asked"),
        (2, "rented"),
        (3, "asked"),
        (4, "lost"),
    ]
    assert (lines[-1].level, lines[-1].time) == ("warning", NOW)
    assert await store.rentals.ledger("job-one", after=3) == lines[3:]


async def test_the_stores_mark_is_made_once_even_by_two(store: Store, database: Path) -> None:
    async with open_store(database) as other:
        marks = await asyncio.gather(*(s.rentals.mark() for s in (store, other, store)))

    assert len(set(marks)) == 1
    assert len(marks[0]) == 8


async def test_a_lease_holds_until_it_is_over_or_given_up(store: Store) -> None:
    rentals = store.rentals
    assert await rentals.lease() is None

    first = await rentals.take_lease("one", "console", NOW, SOON)
    refused = await rentals.take_lease("two", "serve", NOW + SOON / 2, SOON)
    renewed = await rentals.take_lease("one", "console", NOW + SOON / 2, SOON)
    taken = await rentals.take_lease("two", "serve", renewed.expires_at, SOON)

    assert (first.owner, refused) == ("one", first)
    assert renewed.expires_at == NOW + SOON / 2 + SOON
    assert (taken.owner, taken.label) == ("two", "serve")
    await rentals.drop_lease("one", NOW)
    assert await rentals.lease() == taken
    await rentals.drop_lease("two", NOW)
    assert (await rentals.take_lease("one", "console", NOW, SOON)).owner == "one"


async def test_of_many_that_ask_at_once_one_leads(store: Store, database: Path) -> None:
    async with open_store(database) as other:
        asked = [
            (store, other)[number % 2].rentals.take_lease(str(number), "console", NOW, SOON)
            for number in range(8)
        ]
        leases = await asyncio.gather(*asked)

    assert len({lease.owner for lease in leases}) == 1


async def test_of_two_that_saw_the_last_free_place_one_gets_it(store: Store) -> None:
    first, second = [await rented_job(store, job_id) for job_id in ("job-one", "job-two")]
    begun = Rental(phase=RentalPhase.PROVISIONING, since=NOW)

    await store.rentals.replace(second, begun, beside_at_most=0)
    with pytest.raises(RentalConflict, match="another job has taken the place"):
        await store.rentals.replace(first, begun, beside_at_most=0)

    waiting = await store.rentals.get("job-one")
    assert waiting is not None and waiting.rental.phase is RentalPhase.QUEUED
    await store.rentals.replace(first, begun, beside_at_most=1)
