from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from shared.errors import InvalidJobSpec, StoreError, UnknownJob
from shared.job_state import JobState
from shared.lifecycle import Activity
from shared.machine_request import Candidate, MachineRequest
from shared.rental import Machine, MachinePurpose, MachineState, RentalPhase, Wish
from shared.store.schema import sweeps
from shared.store.store import Store, open_store
from shared.store.stored import StoredJob
from shared.sweep import Sweep, expand, new_sweep, parse_varied
from tests.shared.store.journal import job_spec

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
REQUEST = MachineRequest(
    candidates=(Candidate(gpu_type="H100_PCIE", usd_per_hour=2.0),), budget_usd=2.5
)


def sweep(**values: Any) -> Sweep:
    usual = {"sweep_id": "grid", "name": "Grid", "budget_usd": 10.0, "created_at": NOW}
    return new_sweep({**usual, "varied": (parse_varied("lora_r=8,16,32,64"),), **values})


def jobs_of(asked: Sweep, *, waits: bool = False, **changes: Any) -> list[StoredJob]:
    state = JobState(activity=Activity.WAITING_FOR_TURN, rented=not waits)
    return [
        StoredJob(
            spec,
            state,
            "local" if waits else f"runpod:{spec.job_id}",
            None,
            None,
            NOW,
            NOW,
            waits_for_turn=waits,
            sweep_id=asked.sweep_id,
        )
        for spec in expand(job_spec("base", **changes), asked)
    ]


async def add(store: Store, asked: Sweep | None = None) -> list[str]:
    asked = asked or sweep()
    jobs = jobs_of(asked)
    await store.sweeps.add(asked, jobs, dict.fromkeys((job.job_id for job in jobs), REQUEST))
    return [job.job_id for job in jobs]


async def budget_of(store: Store, job_id: str) -> float:
    stored = await store.rentals.get(job_id)
    assert stored is not None
    return stored.request.budget_usd


async def end(store: Store, job_id: str, cost_usd: float) -> None:
    """The job has had a machine, and is done."""
    gone_at = NOW + timedelta(hours=cost_usd / 2.0)
    machine = Machine(
        name=f"m-{job_id}",
        job_id=job_id,
        provider="runpod",
        purpose=MachinePurpose.TRAIN,
        number=1,
        label="H100",
        state=MachineState.INTENDED,
        usd_per_hour=2.0,
        created_at=NOW,
    )
    await store.rentals.intend(machine)
    gone = replace(machine, state=MachineState.GONE, rented_at=NOW, gone_at=gone_at)
    await store.rentals.save_machine(gone)
    await into(store, job_id, RentalPhase.DONE)


async def into(store: Store, job_id: str, phase: RentalPhase) -> None:
    stored = await store.rentals.get(job_id)
    assert stored is not None
    await store.rentals.replace(stored, stored.rental.model_copy(update={"phase": phase}))


async def test_all_jobs_of_a_sweep_are_written_at_once_and_only_once(store: Store) -> None:
    asked = sweep(budget_usd=None)
    jobs = jobs_of(asked, waits=True)

    assert await store.sweeps.add(asked, jobs) == 4
    again = sweep(budget_usd=None, created_at=NOW + timedelta(hours=1))
    assert await store.sweeps.add(again, jobs) == 0

    assert await store.sweeps.jobs("grid") == jobs
    assert await store.sweeps.all() == [asked]
    assert all(job.waits_for_turn for job in await store.list_jobs())


async def test_what_is_missing_of_a_sweep_is_completed(store: Store) -> None:
    asked = sweep(budget_usd=None)
    jobs = jobs_of(asked, waits=True)
    await store.sweeps.add(asked, jobs[:1])

    assert await store.sweeps.add(asked, jobs) == 3
    assert len(await store.sweeps.jobs("grid")) == 4


async def test_another_sweep_under_the_same_id_writes_nothing(store: Store) -> None:
    await add(store)

    other = sweep(varied=(parse_varied("seed=1,2"),))
    with pytest.raises(InvalidJobSpec, match="choose another --sweep-id"):
        await store.sweeps.add(other, jobs_of(other))
    with pytest.raises(InvalidJobSpec, match="job grid-01 exists"):
        await store.sweeps.add(sweep(), jobs_of(sweep(), dry_run=True))
    assert len(await store.list_jobs()) == 4


async def test_one_refused_job_leaves_none_of_the_sweep(store: Store) -> None:
    await store.add_job(job_spec("grid-03"), "local")

    with pytest.raises(InvalidJobSpec, match="grid-03"):
        await add(store)

    assert await store.sweeps.all() == []
    assert [job.job_id for job in await store.list_jobs()] == ["grid-03"]


async def test_a_sweep_is_found_by_its_id_the_begin_of_it_or_its_name(store: Store) -> None:
    await add(store)
    await add(store, sweep(sweep_id="other-1", name="Same"))
    await add(store, sweep(sweep_id="other-2", name="Same"))

    assert (await store.sweeps.find("grid")).sweep_id == "grid"
    assert (await store.sweeps.find("gr")).sweep_id == "grid"
    assert (await store.sweeps.find("Grid")).sweep_id == "grid"
    for typed, words in (("other", "several"), ("Same", "several"), ("", "no sweep"), ("x", "no")):
        with pytest.raises(UnknownJob, match=words):
            await store.sweeps.find(typed)


async def test_each_job_is_given_an_equal_share_which_then_is_its_budget(store: Store) -> None:
    first, *others = await add(store)

    share = await store.sweeps.take_share(first, NOW)

    assert share is not None
    assert (share.usd, share.budget_usd) == (2.5, 10.0)
    assert await store.sweeps.take_share(first, NOW) == share
    for job_id in others:
        await store.sweeps.take_share(job_id, NOW)
    assert [await budget_of(store, job_id) for job_id in (first, *others)] == [2.5] * 4


async def test_savings_pass_on_to_the_jobs_that_begin_later(store: Store) -> None:
    first, second, third, fourth = await add(store)
    await store.sweeps.take_share(first, NOW)
    await store.sweeps.take_share(second, NOW)
    await end(store, first, cost_usd=0.5)

    await store.sweeps.take_share(third, NOW)
    assert await budget_of(store, third) == 3.5
    await store.rentals.wish(third, Wish.CANCEL, "enough")
    assert (await store.sweeps.take_share(fourth, NOW)).usd == 3.5  # type: ignore[union-attr]
    money = await store.sweeps.money("grid", NOW)
    assert sum(job.committed_usd for job in money.values()) == pytest.approx(10.0)


async def test_who_was_called_off_in_the_queue_leaves_its_share_to_the_others(store: Store) -> None:
    first, second, third, fourth = await add(store)
    await store.rentals.wish(second, Wish.CANCEL, "enough")
    await into(store, third, RentalPhase.DONE)

    await store.sweeps.take_share(first, NOW)

    assert await budget_of(store, first) == 5.0
    assert await budget_of(store, fourth) == 2.5  # Not its share yet: what was estimated with.


async def test_what_the_user_has_agreed_to_meanwhile_is_not_given_twice(store: Store) -> None:
    first, second, *_ = await add(store)
    await store.sweeps.take_share(first, NOW)
    await store.rentals.change_request(first, REQUEST.model_copy(update={"budget_usd": 7.0}))

    assert (await store.sweeps.take_share(second, NOW)).usd == 1.0  # type: ignore[union-attr]


async def test_shares_that_are_taken_at_once_are_not_the_same_money(
    store: Store, database: Path
) -> None:
    ids = await add(store)
    async with open_store(database) as other:
        taken = await asyncio.gather(
            *(each.sweeps.take_share(job_id, NOW) for job_id in ids for each in (store, other))
        )

    assert {share.usd for share in taken if share is not None} == {2.5}
    assert sum([await budget_of(store, job_id) for job_id in ids]) == 10.0


async def test_a_job_of_no_sweep_or_of_one_without_a_budget_has_no_share(store: Store) -> None:
    await store.add_job(job_spec("alone"), "runpod:alone", None, REQUEST)
    (free, *_) = await add(store, sweep(sweep_id="free", budget_usd=None))

    assert await store.sweeps.take_share("alone", NOW) is None
    assert await store.sweeps.take_share(free, NOW) is None
    assert await budget_of(store, "alone") == 2.5


async def test_a_sweep_of_another_version_is_an_error_that_says_so(store: Store) -> None:
    await add(store)
    async with store.database.writing() as connection:
        await connection.execute(update(sweeps).values(definition={"from": "the future"}))

    with pytest.raises(StoreError, match="another version"):
        await store.sweeps.all()


_KILLED_WHILE_WRITING = """
import asyncio, os, signal, sys
from pathlib import Path
from shared.store import rows
from shared.store.store import open_store
from tests.shared.store.test_sweeps import jobs_of, sweep

written = 0
job_row = rows.job_row

def job_row_or_death(job):
    global written
    written += 1
    if written == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return job_row(job)

async def main():
    rows.job_row = job_row_or_death
    asked = sweep(budget_usd=None)
    async with open_store(Path(sys.argv[1])) as store:
        await store.sweeps.add(asked, jobs_of(asked, waits=True))

asyncio.run(main())
"""


async def test_whoever_is_killed_while_writing_a_sweep_leaves_none_of_it(
    store: Store, database: Path
) -> None:
    command = [sys.executable, "-c", _KILLED_WHILE_WRITING, str(database)]
    killed = await asyncio.to_thread(subprocess.run, command, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert await store.list_jobs() == []
    assert await store.sweeps.all() == []

    asked = sweep(budget_usd=None)
    assert await store.sweeps.add(asked, jobs_of(asked, waits=True)) == 4
