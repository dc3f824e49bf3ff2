from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.lifecycle import Activity, JobStatus
from shared.rental import RentalPhase
from shared.store.store import Store, open_store
from shared.turns import TurnLimits
from tests.shared.store.journal import job_spec
from tests.shared.store.test_rentals import rented_job

ONE = TurnLimits(1, 3)


async def queued(store: Store, *job_ids: str, host: str = "local") -> None:
    for job_id in job_ids:
        await store.add_job(job_spec(job_id), host, waits_for_turn=True)


async def order(store: Store) -> list[str]:
    return [job.job_id for job in await store.queue.waiting()]


async def claim(store: Store, limits: TurnLimits = ONE, stale_s: float = 30) -> list[str]:
    stale_before = utc_now() - timedelta(seconds=stale_s)
    return [job.job_id for job in await store.queue.claim(limits, stale_before)]


async def test_a_queued_job_says_that_it_waits_and_those_rented_for_stand_in_the_same_line(
    store: Store,
) -> None:
    await queued(store, "job-one")
    await rented_job(store, "job-two")
    await queued(store, "job-three")
    await store.add_job(job_spec("job-now"), "local")

    assert await order(store) == ["job-one", "job-two", "job-three"]
    (first, *_) = await store.queue.waiting()
    assert (first.waits_for_turn, first.state.activity) == (True, Activity.WAITING_FOR_TURN)

    rental = await store.rentals.get("job-two")
    assert rental is not None
    moved = rental.rental.model_copy(update={"phase": RentalPhase.PROVISIONING})
    await store.rentals.replace(rental, moved)
    assert await order(store) == ["job-one", "job-three"]


async def test_a_move_lasts_and_is_news(store: Store, database: Path) -> None:
    await queued(store, "job-one", "job-two", "job-three")
    before = (await store.job_versions())["job-three"]

    after = await store.queue.move("job-three", 1)

    assert [job.job_id for job in after] == ["job-three", "job-one", "job-two"]
    assert (await store.job_versions())["job-three"] > before
    async with open_store(database) as again:
        assert await order(again) == ["job-three", "job-one", "job-two"]
    await queued(store, "job-four")
    assert (await order(store))[-1] == "job-four"


async def test_only_a_job_that_waits_can_be_moved(store: Store) -> None:
    await queued(store, "job-one")
    await store.add_job(job_spec("job-now"), "ssh:elsewhere")
    assert await claim(store) == ["job-one"]

    for job_id in ("job-one", "job-now", "job-none"):
        with pytest.raises(InvalidInput, match="does not wait for its turn"):
            await store.queue.move(job_id, 1)


async def test_a_claim_keeps_its_place_until_the_host_has_the_job_and_the_job_has_ended(
    store: Store,
) -> None:
    await queued(store, "job-one", "job-two")

    assert await claim(store) == ["job-one"]
    assert await claim(store) == []
    await store.queue.handed_over("job-one")
    assert not (await store.get_job("job-one")).waits_for_turn
    assert await claim(store) == []
    await store.settle_job("job-one", JobStatus.COMPLETED, "")
    assert await claim(store) == ["job-two"]


async def test_two_that_claim_at_once_never_give_the_same_place_twice(
    store: Store, database: Path
) -> None:
    names = [f"job-{number}" for number in range(6)]
    await queued(store, *names)
    async with open_store(database) as other:
        moves = [store.queue.move(name, 1) for name in names]
        claims = [claim(each, TurnLimits(2, 2)) for each in (store, other) * 4]
        results = await asyncio.gather(*claims, *moves, return_exceptions=True)

    claimed = [name for result in results[: len(claims)] for name in result]  # type: ignore[union-attr]
    assert len(claimed) == len(set(claimed)) == 2


async def test_a_claim_that_nobody_holds_is_taken_over_and_one_that_is_held_is_not(
    store: Store,
) -> None:
    await queued(store, "job-one", "job-two")
    await claim(store)

    assert await claim(store, stale_s=0) == ["job-one"]
    assert await store.queue.hold("job-one", "copying the training file")
    assert await claim(store, stale_s=10) == []
    job = await store.get_job("job-one")
    assert (job.state.activity, job.state.detail) == (
        Activity.CONNECTING,
        "copying the training file",
    )


async def test_a_turn_that_is_given_back_leaves_the_reason(store: Store) -> None:
    await queued(store, "job-one")
    await claim(store)

    assert await store.queue.release("job-one", "no route to host")

    job = await store.get_job("job-one")
    assert (job.state.activity, job.state.detail) == (
        Activity.WAITING_FOR_TURN,
        "no route to host",
    )
    assert await order(store) == ["job-one"]
    assert not await store.queue.release("job-one", "again")
    assert not await store.queue.hold("job-one", "again")
    # The next turn begins without the old reason.
    assert await claim(store) == ["job-one"]
    assert (await store.get_job("job-one")).state.detail == ""


async def test_a_job_is_withdrawn_only_before_its_turn(store: Store) -> None:
    await queued(store, "job-one", "job-two")
    await claim(store)

    assert await store.queue.withdraw("job-one", "enough") is None
    withdrawn = await store.queue.withdraw("job-two", "enough")

    assert withdrawn is not None
    assert (withdrawn.status, withdrawn.error_message) == (JobStatus.CANCELLED, "enough")
    assert await store.queue.withdraw("job-two", "again") is None
    assert await order(store) == []


async def test_a_rented_job_is_none_of_the_own_hosts(store: Store) -> None:
    await rented_job(store, "job-rent")
    await queued(store, "job-one")
    assert [job.job_id for job in await store.queue.open_on_own_hosts()] == ["job-one"]
    assert await claim(store, TurnLimits(5, 5)) == ["job-one"]
