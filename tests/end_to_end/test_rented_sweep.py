"""Sweeps of jobs on rented machines: together they never may spend more than their budget."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent.run_directory import AgentRoot
from shared.events import utc_now
from shared.lifecycle import JobStatus, StopReason
from shared.machine_request import MachineRequest
from shared.rental import MachineState, RentalPhase
from shared.sweep import Sweep, expand, new_sweep, parse_varied
from tests.end_to_end.rented import (
    Rented,
    check_invariants,
    story,
    until,
    until_final,
    use_stand_in_trainer,
)
from tests.remote.remote_box import needs_a_box
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.hosts.names import RUNPOD
from tui.services.session import Session
from tui.services.sweeps import PlannedJob, cancel_sweep, write_sweep


def sweep_of(budget_usd: float) -> Sweep:
    return new_sweep(
        {
            "sweep_id": "grid",
            "name": "Grid",
            "varied": (parse_varied("learning_rate=1e-4,2e-4"), parse_varied("lora_r=8,16")),
            "budget_usd": budget_usd,
            "created_at": utc_now(),
        }
    )


async def start(user: Rented, session: Session, sweep: Sweep, notes: str) -> list[str]:
    """Write the sweep down, as the command does once all was agreed; the trainer is a stand-in."""
    specs = expand(user.spec("base", notes), sweep)
    checked = check_training_file(user.dataset, CheckSettings("tiny"), None)
    volume = user.volume()
    requests: dict[str, MachineRequest] = {}
    for spec in specs:
        if user.fake.user is not None:
            for place in (user.template, user.fake.volume_directory(volume)):
                use_stand_in_trainer(user, place, spec.job_id)
        requests[spec.job_id] = user.request(network_volume_id=volume, budget_usd=1.0)
    planned = [PlannedJob(spec, checked) for spec in specs]
    assert await write_sweep(session, sweep, planned, RUNPOD, requests) == 4
    assert await write_sweep(session, sweep, planned, RUNPOD, requests) == 0
    return [spec.job_id for spec in specs]


def enforced_usd(user: Rented, volume_id: str, job_id: str) -> float:
    """The cap that the job's own machine held it to, with nobody watching."""
    root = AgentRoot(user.base_of(volume_id, job_id) / "agent")
    return float(json.loads(root.job(job_id).limits_path.read_text())["limits"]["budget_usd"])


async def never_above(session: Session, sweep: Sweep) -> None:
    """Look all the time, until cancelled, at what the jobs may spend together."""
    while True:
        money = await session.store.sweeps.money(sweep.sweep_id, utc_now())
        assert sum(job.committed_usd for job in money.values()) <= (sweep.budget_usd or 0) + 1e-6
        await asyncio.sleep(0.05)


@needs_a_box
@pytest.mark.slow
async def test_four_jobs_share_one_budget_and_what_one_saves_the_next_may_spend(
    user: Rented,
) -> None:
    sweep = sweep_of(4.0)
    async with user.controlled(concurrent_jobs=2) as (session, _):
        looking = asyncio.create_task(never_above(session, sweep))
        ids = await start(user, session, sweep, "steps=6 delay=0.1")
        jobs = [await until_final(session, job_id, timeout_s=120) for job_id in ids]
        assert not looking.done() or looking.result()
        looking.cancel()

        for job in jobs:
            assert job.status is JobStatus.COMPLETED, await story(session, job.job_id)
        caps = []
        for job_id in ids:
            stored = await session.store.rentals.get(job_id)
            assert stored is not None
            caps.append(stored.request.budget_usd)
            assert enforced_usd(user, stored.request.network_volume_id or "", job_id) == caps[-1]
        assert caps[:2] == [1.0, 1.0]
        assert caps[2] > 1.2, "the first to end had left nearly all of its share"
        assert caps[3] > caps[2]
        money = await session.store.sweeps.money("grid", utc_now())
        assert sum(job.spent_usd for job in money.values()) <= 4.0
        await check_invariants(user, session, *ids)


@needs_a_box
@pytest.mark.slow
async def test_a_share_that_is_too_small_rents_nothing_and_leaves_its_money_to_the_others(
    user: Rented,
) -> None:
    async with user.controlled(concurrent_jobs=1) as (session, _):
        ids = await start(user, session, sweep_of(1.0), "steps=4")
        jobs = [await until_final(session, job_id, timeout_s=90) for job_id in ids]

        ends = [(job.status, job.state.stop_reason) for job in jobs]
        too_small = (JobStatus.FAILED, StopReason.BUDGET_EXHAUSTED)
        assert ends[:3] == [too_small] * 3, await story(session, ids[0])
        assert "its share of the sweep's $1.00 is $0.25, too little" in (
            jobs[0].error_message or ""
        )
        assert jobs[3].status is JobStatus.COMPLETED, await story(session, ids[3])
        rented = await session.store.rentals.machines()
        assert {machine.job_id for machine in rented} == {ids[3]}
        await check_invariants(user, session, *ids)


@needs_a_box
@pytest.mark.slow
async def test_cancelling_a_sweep_ends_all_of_it_and_rents_nothing_more(user: Rented) -> None:
    async with user.controlled(concurrent_jobs=1) as (session, _):
        ids = await start(user, session, sweep_of(4.0), "steps=200 delay=0.2")

        async def is_rented() -> bool:
            return bool(await session.store.rentals.machines(ids[0], states=[MachineState.RENTED]))

        await until(is_rented)
        cancelled = await cancel_sweep(session, "grid", "seen enough")

        assert (cancelled.asked, cancelled.troubles) == (4, ())
        for job_id in ids:
            assert (await until_final(session, job_id)).status is JobStatus.CANCELLED
        assert {machine.job_id for machine in await session.store.rentals.machines()} == {ids[0]}
        assert user.fake.billing_now("brightrun-") == []
        for job_id in ids:
            stored = await session.store.rentals.get(job_id)
            assert stored is not None and stored.rental.phase is RentalPhase.DONE


async def test_a_budget_that_is_too_small_even_for_the_last_job_rents_nothing(
    on_paper: Rented,
) -> None:
    async with on_paper.controlled() as (session, _):
        ids = await start(on_paper, session, sweep_of(0.4), "")
        jobs = [await until_final(session, job_id) for job_id in ids]

        assert {job.state.stop_reason for job in jobs} == {StopReason.BUDGET_EXHAUSTED}
        assert all("share of the sweep's $0.40" in (job.error_message or "") for job in jobs)
        assert await session.store.rentals.machines() == []
        assert on_paper.fake.pods == []
