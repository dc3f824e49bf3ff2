from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

import pytest

from shared.agent_protocol import Health
from shared.errors import AgentRefused, AgentUnreachable
from shared.forecast.arithmetic import forecast
from shared.lifecycle import JobStatus
from shared.store.store import Store
from shared.store.stored import Applied
from tests.shared.forecast.foreseen import host, work
from tests.shared.store.journal import BEGIN, completed_job, job_spec
from tests.tui.fake_agent import FakeAgent
from tui.services.hosts.host import Step, in_silence
from tui.services.hosts.local import LocalHost
from tui.services.mirror import Mirror, Unreachable


@dataclass(frozen=True, slots=True)
class RevivingHost(LocalHost):
    """Its agent is a `FakeAgent`, which runs for as long as `stack` is open once it was revived."""

    agent: FakeAgent
    stack: AsyncExitStack
    refusals: list[str]
    """Each makes one try to start the agent fail."""

    async def ensure_agent(self, on_step: Step = in_silence) -> Health:
        if self.refusals:
            raise AgentUnreachable(self.refusals.pop())
        await self.stack.enter_async_context(self.agent.running())
        async with self.client() as client:
            return await client.health()


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.services.mirror._WATCH_PATIENCE_S", 0.2)
    monkeypatch.setattr("tui.services.mirror._REVIVE_PAUSE_S", 0.0)


async def test_watching_copies_everything_into_the_store_and_ends_with_the_job(
    agent: FakeAgent, store: Store
) -> None:
    agent.records = completed_job(steps=4)
    await store.add_job(job_spec(), "local")
    seen = []
    async with agent.running():
        async for sight in Mirror(store, lambda _: LocalHost(agent.root)).watch("job-one"):
            assert isinstance(sight, Applied)
            seen += sight.records

    assert seen == agent.records
    assert await store.events("job-one") == agent.records
    assert (await store.get_job("job-one")).status is JobStatus.COMPLETED


@pytest.mark.parametrize("by_watching", [True, False])
async def test_what_a_job_took_is_put_beside_its_forecast_as_soon_as_it_has_ended(
    agent: FakeAgent, store: Store, by_watching: bool
) -> None:
    agent.records = completed_job(steps=4)
    job, _ = await store.add_job(job_spec(), "local")
    await store.forecasts.put("job-one", forecast(work(), host()), BEGIN)
    mirror = Mirror(store, lambda _: LocalHost(agent.root))
    async with agent.running():
        if by_watching:
            assert [sight async for sight in mirror.watch("job-one")]
        else:
            await mirror.catch_up(job)

    found = await store.forecasts.get("job-one")
    assert found is not None and found.actual is not None
    assert found.actual.tokens_per_s == 200


async def test_watching_begins_at_the_stores_cursor(agent: FakeAgent, store: Store) -> None:
    agent.records = completed_job()
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", agent.records[:4])
    async with agent.running():
        sights = [
            sight async for sight in Mirror(store, lambda _: LocalHost(agent.root)).watch("job-one")
        ]

    assert agent.asked == [(1, 4)]
    assert isinstance(sights[0], Applied)
    assert sights[0].records[0] == agent.records[4]


async def test_a_watcher_gets_what_another_process_stored_first(
    agent: FakeAgent, store: Store
) -> None:
    agent.records = completed_job()
    await store.add_job(job_spec(), "local")
    seen = []
    async with agent.running():
        async for sight in Mirror(store, lambda _: LocalHost(agent.root)).watch("job-one"):
            assert isinstance(sight, Applied)
            seen += sight.records
            await store.apply_records("job-one", agent.records)

    assert seen == agent.records


async def test_a_watcher_outlives_the_agent_and_starts_it_again(
    agent: FakeAgent, store: Store
) -> None:
    everything = completed_job(steps=6)
    agent.records, agent.batch_size = everything[:5], 5
    await store.add_job(job_spec(), "local")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        await first.enter_async_context(agent.running())
        host = RevivingHost(agent.root, agent, stack, refusals=["not yet"])
        story: list[str] = []
        async with aclosing(Mirror(store, lambda _: host).watch("job-one")) as sights:
            async for sight in sights:
                if isinstance(sight, Unreachable):
                    story.append("unreachable")
                    agent.records = everything
                else:
                    story.append(f"{len(sight.records)} records")
                if (await store.get_job("job-one")).cursor == (1, 5):
                    await first.aclose()

    assert story[:4] == ["5 records", "unreachable", "unreachable", "0 records"]
    assert await store.events("job-one") == everything


async def test_a_job_that_the_agent_does_not_know_ends_the_watch(
    agent: FakeAgent, store: Store
) -> None:
    await store.add_job(job_spec(), "local")
    async with agent.running():
        with pytest.raises(AgentRefused):
            await anext(Mirror(store, lambda _: LocalHost(agent.root)).watch("job-one"))


async def test_catching_up_pulls_what_is_there_and_does_not_wait_for_more(
    agent: FakeAgent, store: Store
) -> None:
    agent.records = completed_job()[:6]
    job, _ = await store.add_job(job_spec(), "local")
    mirror = Mirror(store, lambda _: LocalHost(agent.root))
    async with agent.running():
        sight = await mirror.catch_up(job)
        again = await mirror.catch_up(sight.job)

    assert (sight.job.cursor, sight.unreachable) == ((1, 6), None)
    assert again.job == sight.job
    assert agent.asked == [(0, 0)]


async def test_catching_up_without_an_agent_leaves_the_last_figures(
    agent: FakeAgent, store: Store
) -> None:
    await store.add_job(job_spec(), "local")
    applied = await store.apply_records("job-one", completed_job()[:6])

    sight = await Mirror(store, lambda _: LocalHost(agent.root)).catch_up(applied.job)

    assert sight.job == applied.job
    assert sight.unreachable is not None
    assert not (agent.root / "agent.json").exists(), "looking must not start an agent"


async def test_catching_up_says_that_the_agent_does_not_know_the_job(
    agent: FakeAgent, store: Store
) -> None:
    job, _ = await store.add_job(job_spec(), "local")
    async with agent.running():
        sight = await Mirror(store, lambda _: LocalHost(agent.root)).catch_up(job)

    assert sight.unreachable is not None
    assert "does not know it" in sight.unreachable


async def test_a_job_that_is_final_needs_no_agent(agent: FakeAgent, store: Store) -> None:
    await store.add_job(job_spec(), "local")
    applied = await store.apply_records("job-one", completed_job())
    mirror = Mirror(store, lambda _: LocalHost(agent.root))

    assert (await mirror.catch_up(applied.job)).unreachable is None
    assert [sight async for sight in mirror.watch("job-one")] == []
