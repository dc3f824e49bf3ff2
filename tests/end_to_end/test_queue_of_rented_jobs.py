"""The line of rented jobs: one order, a limit, and moves in it at any moment."""

from __future__ import annotations

import asyncio
import random

import pytest

from shared.rental import RentalPhase, is_at_work
from shared.store.store_settings import CONCURRENT_JOBS
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    until,
    until_final,
    until_phase,
    until_step,
)
from tests.end_to_end.rented_job import completed, until_said
from tests.remote.remote_box import needs_a_box
from tui.services.controller import shared_budget
from tui.services.controller.work import Work
from tui.services.session import Session


@needs_a_box
@pytest.mark.slow
async def test_of_three_jobs_and_one_place_the_promoted_one_is_next(user: Rented) -> None:
    names = ("first", "second", "third")
    async with user.controlled() as (session, _):
        await session.store.settings.put(CONCURRENT_JOBS, 1)
        for name in names:
            await user.start(session, name, "steps=8 delay=0.2", user.request())
        await until_step(session, "first", 1)
        await until_said(session, "third", "1 job at work, which is the limit; 1 before it")
        await session.store.queue.move("third", 1)
        await until_said(session, "second", "1 job at work, which is the limit; 1 before it")

        for name in names:
            await completed(session, name, 8, 1)
        ends = {name: (await session.store.get_job(name)).state for name in names}
        assert ends["first"].ended_at <= ends["third"].started_at  # type: ignore[operator]
        assert ends["third"].ended_at <= ends["second"].started_at  # type: ignore[operator]
        ours = f"brightrun-{await session.store.rentals.mark()}-"
        assert user.fake.max_billing_at_once(ours) == 1
        await check_invariants(user, session, *names)


async def test_two_controllers_and_moves_in_the_middle_of_a_step_never_exceed_the_limit(
    on_paper: Rented,
) -> None:
    names = [f"job-{number}" for number in range(5)]
    async with on_paper.controlled(tick_s=0.05) as (session, _), on_paper.controlled(tick_s=0.05):
        await session.store.settings.put(CONCURRENT_JOBS, 2)
        moving = asyncio.create_task(_keep_moving(session, names))
        for name in names:
            await on_paper.start(session, name, "", on_paper.request())
        for _ in names:
            await _until_at_work(session, 2)
            (ended, *_) = [name for name in names if await _is_at_work(session, name)]
            await called_off(session, ended)
            names.remove(ended)
            if len(names) < 2:
                break
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
        for name in list(names):
            await called_off(session, name)
    assert on_paper.fake.max_billing_at_once("brightrun-") == 2
    assert on_paper.fake.violations == []


async def _keep_moving(session: Session, names: list[str]) -> None:
    """Somebody who cannot make up their mind."""
    choose = random.Random(8)
    while True:
        waiting = await session.store.queue.waiting()
        if waiting:
            await session.store.queue.move(choose.choice(waiting).job_id, 1)
        at_work = [o for o in await session.store.rentals.open_ones() if is_at_work(o.rental)]
        assert len(at_work) <= 2
        await asyncio.sleep(0.01)


async def _is_at_work(session: Session, job_id: str) -> bool:
    stored = await session.store.rentals.get(job_id)
    return stored is not None and is_at_work(stored.rental)


async def _until_at_work(session: Session, count: int) -> None:
    async with asyncio.timeout(30):
        while True:
            open_ones = await session.store.rentals.open_ones()
            if sum(is_at_work(stored.rental) for stored in open_ones) == count:
                return
            await asyncio.sleep(0.02)


async def test_a_limit_that_is_raised_lets_the_next_one_begin(on_paper: Rented) -> None:
    async with on_paper.controlled() as (session, _):
        await session.store.settings.put(CONCURRENT_JOBS, 1)
        for name in ("job-one", "job-two"):
            await on_paper.start(session, name, "", on_paper.request())
        await until_phase(session, "job-one", RentalPhase.CONNECTING)
        await until_said(session, "job-two", "1 job at work, which is the limit")

        await session.store.settings.put(CONCURRENT_JOBS, 2)

        await until_phase(session, "job-two", RentalPhase.CONNECTING)
        for name in ("job-one", "job-two"):
            await called_off(session, name)
        await until_final(session, "job-two")


async def test_a_move_between_looking_and_beginning_lets_only_one_begin(
    on_paper: Rented, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_door: set[str] = set()
    may_go_on = asyncio.Event()
    real = shared_budget.begins

    async def held_up(work: Work) -> bool:
        at_the_door.add(work.job_id)
        await may_go_on.wait()
        return await real(work)

    monkeypatch.setattr(shared_budget, "begins", held_up)
    async with on_paper.controlled() as (session, _):
        await session.store.settings.put(CONCURRENT_JOBS, 1)
        for name in ("job-one", "job-two"):
            await on_paper.start(session, name, "", on_paper.request())
        await until(lambda: _is_in("job-one", at_the_door))
        # Both have seen that the place is free, and that they are the first.
        await session.store.queue.move("job-two", 1)
        await until(lambda: _is_in("job-two", at_the_door))
        may_go_on.set()

        await _until_at_work(session, 1)
        at_work = [n for n in ("job-one", "job-two") if await _is_at_work(session, n)]
        await until_phase(session, at_work[0], RentalPhase.CONNECTING)
        await _until_at_work(session, 1)
        for name in ("job-one", "job-two"):
            await called_off(session, name)
    assert on_paper.fake.max_billing_at_once("brightrun-") == 1


async def _is_in(job_id: str, found: set[str]) -> bool:
    return job_id in found
