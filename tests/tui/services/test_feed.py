"""The feed that keeps a console fresh, against an agent that breaks off and stays away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from shared.errors import AgentUnreachable, StoreError
from shared.events import JournalRecord
from shared.lifecycle import JobStatus
from shared.store.store import Store
from tests.shared.store.journal import completed_job, job_spec, journal, started
from tests.tui.fake_agent import FakeAgent
from tui.config import Config
from tui.services.feed import JobFeed, JobNews
from tui.services.hosts.hosts import Hosts
from tui.services.hosts.local import LocalHost
from tui.services.mirror import Mirror
from tui.services.session import Session


@dataclass
class Listener:
    """Hears everything, and can wait for it."""

    heard: list[JobNews] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, news: JobNews) -> None:
        self.heard.append(news)
        self.changed.set()

    def trouble(self, text: str) -> None:
        self.troubles.append(text)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def records(self, job_id: str = "job-one") -> list[JournalRecord]:
        return [item for news in self.heard if news.job.job_id == job_id for item in news.records]

    @property
    def last(self) -> JobNews:
        return self.heard[-1]


@asynccontextmanager
async def feeding(store: Store, agent: FakeAgent) -> AsyncIterator[tuple[Listener, JobFeed]]:
    listener = Listener()
    config = Config(agent.root, agent.root)
    hosts = Hosts(config, store.rentals)
    session = Session(config, store, hosts, Mirror(store, hosts.get))
    feed = JobFeed(session, listener.tell, on_trouble=listener.trouble, poll_s=0.05)
    task = asyncio.create_task(feed.run())
    try:
        yield listener, feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(self: LocalHost, on_step: object = None) -> None:
        raise AgentUnreachable("it does not start")

    monkeypatch.setattr("tui.services.mirror._WATCH_PATIENCE_S", 0.1)
    monkeypatch.setattr("tui.services.mirror._REVIVE_PAUSE_S", 0.05)
    monkeypatch.setattr(LocalHost, "ensure_agent", nobody)


async def test_a_job_is_followed_to_its_end_without_a_gap_over_a_connection_that_breaks(
    agent: FakeAgent, store: Store
) -> None:
    agent.records, agent.cut_after = completed_job(steps=6), [3, 4]
    await store.add_job(job_spec(), "local")
    async with agent.running(), feeding(store, agent) as (listener, _):
        await listener.until(lambda: bool(listener.heard) and listener.last.job.status.is_final)

    assert listener.records() == agent.records
    assert listener.last.job.status is JobStatus.COMPLETED


async def test_all_jobs_are_told_at_first_and_those_that_are_final_are_not_followed(
    agent: FakeAgent, store: Store
) -> None:
    agent.records = completed_job()
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", agent.records)
    async with agent.running(), feeding(store, agent) as (listener, _):
        await listener.until(lambda: bool(listener.heard))

    assert [(news.job.job_id, news.records) for news in listener.heard] == [("job-one", ())]
    assert agent.asked == []


async def test_a_job_that_another_process_starts_is_found_and_followed(
    agent: FakeAgent, store: Store
) -> None:
    agent.records = completed_job()
    async with agent.running(), feeding(store, agent) as (listener, feed):
        await store.add_job(job_spec(), "local")
        feed.look_now()
        await listener.until(lambda: bool(listener.heard) and listener.last.job.status.is_final)

    assert listener.records() == agent.records


async def test_an_agent_that_stays_away_is_told_with_the_last_figures_and_comes_back_by_itself(
    agent: FakeAgent, store: Store
) -> None:
    agent.records = completed_job()
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", agent.records[:5])
    async with AsyncExitStack() as stack, feeding(store, agent) as (listener, _):
        await listener.until(lambda: bool(listener.heard) and listener.last.unreachable is not None)
        away = listener.last
        assert away.unreachable is not None
        assert away.job.state.step == 1
        assert not away.job.status.is_final

        await stack.enter_async_context(agent.running())
        await listener.until(lambda: listener.last.job.status.is_final)

    assert listener.last.unreachable is None
    assert listener.records() == agent.records[5:]


async def test_a_job_that_is_just_being_handed_over_is_not_called_unreachable(
    agent: FakeAgent, store: Store
) -> None:
    await store.add_job(job_spec(), "local")
    async with agent.running(), feeding(store, agent) as (listener, _):
        async with asyncio.timeout(10):
            while not agent.asked_in_vain:
                await asyncio.sleep(0.01)
        agent.records = completed_job()
        await listener.until(lambda: listener.last.job.status.is_final)

    assert all(news.unreachable is None for news in listener.heard)


async def test_a_job_that_no_agent_knows_is_told_once_it_cannot_be_on_its_way(
    agent: FakeAgent, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.services.feed._HANDOVER_S", 0.0)
    await store.add_job(job_spec(), "local")
    async with agent.running(), feeding(store, agent) as (listener, _):
        await listener.until(lambda: bool(listener.heard) and listener.last.unreachable is not None)

    assert listener.last.unreachable is not None
    assert "local does not know this job" in listener.last.unreachable.reason


async def test_a_job_that_is_cancelled_before_any_agent_knew_it_is_told_as_cancelled(
    agent: FakeAgent, store: Store
) -> None:
    await store.add_job(job_spec(), "local")
    async with agent.running(), feeding(store, agent) as (listener, _):
        await listener.until(lambda: bool(listener.heard))
        await store.settle_job("job-one", JobStatus.CANCELLED, "not wanted")
        await listener.until(lambda: listener.last.job.status is JobStatus.CANCELLED)


async def test_a_store_that_cannot_be_read_is_said_and_tried_again(
    agent: FakeAgent, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store.job_versions
    answers = iter([False, False, True])

    async def sometimes(self: Store) -> object:
        if next(answers, True):
            return await read()
        raise StoreError("the disk is gone")

    monkeypatch.setattr(Store, "job_versions", sometimes)
    async with feeding(store, agent) as (listener, _):
        await listener.until(lambda: "" in listener.troubles)

    assert listener.troubles == ["the disk is gone", "the disk is gone", ""]


async def test_two_jobs_do_not_wait_for_each_other(agent: FakeAgent, store: Store) -> None:
    """The first one's agent holds its connection open without another record."""
    agent.records = journal(started())
    await store.add_job(job_spec(), "local")
    done = job_spec("job-two")
    await store.add_job(done, "local")
    async with agent.running(), feeding(store, agent) as (listener, _):
        await listener.until(lambda: len(listener.records()) == 1)
        records = completed_job(job_id="job-two")
        await store.apply_records("job-two", records)
        await listener.until(
            lambda: any(
                news.job.job_id == "job-two" and news.job.status.is_final for news in listener.heard
            )
        )
