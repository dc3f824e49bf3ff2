from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from shared.errors import AgentRefused
from shared.lifecycle import Activity, JobStatus, StopReason
from tests.shared.store.journal import ended, journal, stage, started
from tests.tui.fake_agent import FakeAgent
from tests.tui.local_console import Console
from tui.services.hosts.local import LocalHost
from tui.services.trainer_log import (
    AttemptOpened,
    LogEnded,
    LogLines,
    LogReachable,
    LogUnreachable,
    LogValue,
    NoLogYet,
    follow,
    tail,
    watch_log,
)

RUNNING = journal(started(), stage(JobStatus.TRAINING, Activity.TRAINING))
COMPLETED = journal(started(), ended(StopReason.COMPLETED))


class Watcher:
    """Reads what `watch_log` yields, one value at a time, each with a deadline."""

    def __init__(self, values: AsyncGenerator[LogValue]) -> None:
        self._values = values

    async def next(self) -> LogValue:
        async with asyncio.timeout(10):
            return await anext(self._values)

    async def lines(self) -> tuple[str, ...]:
        value = await self.next()
        assert isinstance(value, LogLines), value
        return value.lines

    async def rest(self) -> list[LogValue]:
        async with asyncio.timeout(10):
            return [value async for value in self._values]


@pytest.fixture
async def watcher(agent: FakeAgent) -> AsyncIterator[Watcher]:
    values = watch_log(LocalHost(agent.root), "job-one", last_lines=3, poll_s=0.01)
    async with aclosing(values):
        yield Watcher(values)


async def test_the_last_lines_of_the_latest_attempt_come_first(
    agent: FakeAgent, watcher: Watcher
) -> None:
    agent.records = COMPLETED
    agent.logs = {1: b"old\n", 2: b"1\n2\n\n4\n"}
    async with agent.running():
        assert await watcher.rest() == [
            AttemptOpened(2, is_whole=False),
            LogLines(("2", "", "4")),
            LogEnded(JobStatus.COMPLETED),
        ]


async def test_lines_follow_as_they_are_written_and_never_in_halves(
    agent: FakeAgent, watcher: Watcher
) -> None:
    agent.records = RUNNING
    agent.logs = {1: b"one\nha"}
    async with agent.running():
        assert await watcher.next() == AttemptOpened(1, is_whole=True)
        assert await watcher.lines() == ("one",)
        agent.logs[1] += b"lf\nla"
        assert await watcher.lines() == ("half",)
        agent.logs[1] += b"st"
        agent.records = COMPLETED
        assert await watcher.rest() == [LogLines(("last",)), LogEnded(JobStatus.COMPLETED)]


async def test_a_progress_bar_gives_a_line_each_time_it_is_redrawn(
    agent: FakeAgent, watcher: Watcher
) -> None:
    agent.records = RUNNING
    agent.logs = {1: b"begin\r\n\r 10%\r"}
    async with agent.running():
        await watcher.next()
        assert await watcher.lines() == ("begin",)
        agent.logs[1] += b" 20%\r 30%\r"
        assert await watcher.lines() == (" 10%", " 20%")
        agent.logs[1] += b"\n\r\nend\n"
        assert await watcher.lines() == (" 30%", "", "end")


async def test_a_line_that_never_ends_is_handed_on(agent: FakeAgent, watcher: Watcher) -> None:
    agent.records = RUNNING
    agent.logs = {1: b"x" * 100_000}
    async with agent.running():
        await watcher.next()
        assert await watcher.lines() == ("x" * 100_000,)


async def test_the_next_attempt_is_read_from_its_beginning_after_the_rest_of_the_last(
    agent: FakeAgent, watcher: Watcher
) -> None:
    agent.records = RUNNING
    agent.logs = {1: b"one\nkilled wi"}
    async with agent.running():
        await watcher.next()
        await watcher.lines()
        agent.logs = {1: b"one\nkilled within", 2: b"two\n"}
        agent.records = [
            *journal(started(), ended(StopReason.TRAINER_KILLED, will_retry=True)),
            *journal(started("j2"), ended(StopReason.COMPLETED), attempt=2),
        ]
        assert await watcher.rest() == [
            LogLines(("killed within",)),
            AttemptOpened(2, is_whole=True),
            LogLines(("two",)),
            LogEnded(JobStatus.COMPLETED),
        ]


async def test_a_log_goes_on_where_it_broke_off_when_the_agent_comes_back(
    agent: FakeAgent, watcher: Watcher
) -> None:
    agent.records = RUNNING
    agent.logs = {1: b"one\ntw"}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(agent.running())
        await watcher.next()
        assert await watcher.lines() == ("one",)
        await stack.aclose()
        lost = await watcher.next()
        assert isinstance(lost, LogUnreachable)
        assert str(agent.socket_path) in lost.reason
        agent.logs[1] += b"o\nthree\n"
        await stack.enter_async_context(agent.running())
        assert await watcher.next() == LogReachable()
        assert await watcher.lines() == ("two", "three")
    assert (1, 6) in agent.log_requests


async def test_an_agent_that_never_ran_is_waited_for(agent: FakeAgent, watcher: Watcher) -> None:
    lost = await watcher.next()
    assert isinstance(lost, LogUnreachable)
    agent.records, agent.logs = COMPLETED, {1: b"one\n"}
    async with agent.running():
        assert await watcher.rest() == [
            LogReachable(),
            AttemptOpened(1, is_whole=True),
            LogLines(("one",)),
            LogEnded(JobStatus.COMPLETED),
        ]


async def test_a_job_without_a_log_is_waited_for_and_that_is_said_once(
    agent: FakeAgent, watcher: Watcher
) -> None:
    async with agent.running():
        assert await watcher.next() == NoLogYet()
        next_value = asyncio.create_task(watcher.next())
        agent.records = RUNNING
        await until(lambda: len(agent.log_requests) > 2)
        assert not next_value.done()
        agent.logs = {1: b"one\n"}
        assert await next_value == AttemptOpened(1, is_whole=True)
        assert await watcher.lines() == ("one",)


async def test_a_job_that_ended_without_a_word_ends_the_log(
    agent: FakeAgent, watcher: Watcher
) -> None:
    agent.records = COMPLETED
    async with agent.running():
        assert await watcher.rest() == [
            AttemptOpened(1, is_whole=True),
            LogEnded(JobStatus.COMPLETED),
        ]


async def test_another_refusal_ends_the_log_with_an_error(
    agent: FakeAgent, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The route of the fake that looks at the token.
    monkeypatch.setattr(agent, "_job", agent._health)
    async with agent.running():
        (agent.root / "agent.token").write_text("another token")
        with pytest.raises(AgentRefused, match="wrong token"):
            await watcher.next()


async def test_the_tail_of_an_attempt_has_as_many_lines_as_asked_for(agent: FakeAgent) -> None:
    agent.records = RUNNING
    text = "".join(f"{number} {'x' * 100}\n" for number in range(4_000))
    agent.logs = {1: text.encode(), 2: b"half"}
    async with agent.running(), LocalHost(agent.root).client() as client:
        last = await tail(client, "job-one", 1, 3_000)
        assert [line.split()[0] for line in last.text.splitlines()] == [
            str(number) for number in range(1_000, 4_000)
        ]
        assert (last.attempt, last.next_offset, last.is_whole) == (1, len(text), False)
        assert (await tail(client, "job-one", 1, 0)).text == ""
        last = await tail(client, "job-one", None, 10)
        assert (last.text, last.attempt, last.is_whole) == ("half", 2, True)


async def test_following_one_attempt_gives_whole_lines_until_the_jobs_end(
    agent: FakeAgent,
) -> None:
    agent.records = RUNNING
    agent.logs = {1: b"one\ntw"}
    async with (
        asyncio.timeout(10),
        agent.running(),
        LocalHost(agent.root).client() as client,
        aclosing(follow(client, "job-one", 1, 0, poll_s=0.01)) as texts,
    ):
        assert await anext(texts) == "one\n"
        agent.logs[1] += b"o\r30%\nend"
        assert await anext(texts) == "two\r30%\n"
        agent.records = COMPLETED
        assert [text async for text in texts] == ["end\n"]


async def test_following_hands_a_line_that_never_ends_on_in_parts(agent: FakeAgent) -> None:
    agent.records = RUNNING
    agent.logs = {1: b"x" * 600_000}
    async with (
        asyncio.timeout(10),
        agent.running(),
        LocalHost(agent.root).client() as client,
        aclosing(follow(client, "job-one", 1, 0, poll_s=0.01)) as texts,
    ):
        parts = [await anext(texts) for _ in range(2)]
        agent.logs[1] += b"y\nend"
        agent.records = COMPLETED
        parts += [text async for text in texts]
    assert "".join(parts) == "x" * 600_000 + "y\nend\n"
    assert max(map(len, parts)) < 400_000


async def test_a_real_agents_job_is_read_through_a_killed_trainer(tmp_path: Path) -> None:
    console = Console(tmp_path)
    await asyncio.to_thread(console.start_agent)
    try:
        notes = "steps=4 delay=0.3 at=3 dies=kill"
        assert (await asyncio.to_thread(console.start, "job-killed", notes))[0] == 0
        async with asyncio.timeout(30):
            values = [value async for value in watch_log(LocalHost(console.root), "job-killed")]
    finally:
        await asyncio.to_thread(console.kill_agent)

    line = LogLines(("the stand-in trainer écrit no secret",))
    assert [value for value in values if value != NoLogYet()] == [
        AttemptOpened(1, is_whole=True),
        line,
        AttemptOpened(2, is_whole=True),
        line,
        LogEnded(JobStatus.COMPLETED),
    ]


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
