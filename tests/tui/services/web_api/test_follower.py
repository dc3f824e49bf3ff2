"""Jobs on own hosts are followed while the API is served, with nobody at a screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from shared.lifecycle import JobStatus
from tests.shared.store.journal import completed_job, job_spec
from tests.tui.fake_agent import FakeAgent
from tui.services.session import Session
from tui.services.web_api.follower import Follower


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await what():
            await asyncio.sleep(0.02)


async def is_completed(session: Session) -> bool:
    return (await session.store.get_job("job-one")).status is JobStatus.COMPLETED


async def test_a_running_job_is_followed_to_its_end(agent: FakeAgent, session: Session) -> None:
    agent.records = completed_job(steps=4)
    follower = Follower(session, look_s=0.05)
    running = asyncio.create_task(follower.run())
    async with agent.running():
        await session.store.add_job(job_spec(), "local")
        await until(lambda: is_completed(session))
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    assert await session.store.events("job-one") == agent.records


async def test_one_glance_brings_what_is_there_by_now(agent: FakeAgent, session: Session) -> None:
    agent.records = completed_job(steps=4)
    job, _ = await session.store.add_job(job_spec(), "local")
    follower = Follower(session)
    async with agent.running():
        follower.glance(job)
        await until(lambda: is_completed(session))


async def test_a_job_that_waits_for_its_turn_costs_no_watcher(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[str] = []
    monkeypatch.setattr(type(session.mirror), "watch", lambda _, job_id: watched.append(job_id))
    await session.store.add_job(job_spec(), "local", waits_for_turn=True)
    await session.store.add_job(job_spec("job-two"), "local")
    running = asyncio.create_task(Follower(session, look_s=0.02).run())

    async def is_seen() -> bool:
        return bool(watched)

    await until(is_seen)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert set(watched) == {"job-two"}
