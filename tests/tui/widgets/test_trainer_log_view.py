from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static, TabbedContent, TabPane

from shared.lifecycle import Activity, JobStatus, StopReason
from tests.shared.store.journal import ended, journal, stage, started
from tests.tui.fake_agent import FakeAgent
from tui.services.hosts.local import LocalHost
from tui.widgets.trainer_log_view import TrainerLogView

RUNNING = journal(started(), stage(JobStatus.TRAINING, Activity.TRAINING))
RESUMED_AND_COMPLETED = [
    *journal(started(), ended(StopReason.TRAINER_KILLED, will_retry=True)),
    *journal(started("j2"), ended(StopReason.COMPLETED), attempt=2),
]


class Tabs(App[None]):
    """The log is behind another tab at first."""

    def __init__(self, agent: FakeAgent) -> None:
        super().__init__()
        self.view = TrainerLogView(LocalHost(agent.root), "job-one")

    def compose(self) -> ComposeResult:
        with TabbedContent(initial="other"):
            yield TabPane("Other", id="other")
            with TabPane("Log", id="log"):
                yield self.view

    def show_log(self) -> None:
        self.query_one(TabbedContent).active = "log"

    @property
    def status(self) -> str:
        return str(self.view.query_one("#log-status", Static).content)


@asynccontextmanager
async def shown_log(agent: FakeAgent) -> AsyncIterator[Tabs]:
    app = Tabs(agent)
    async with app.run_test(size=(120, 20)) as pilot:
        app.show_log()
        await pilot.pause()
        yield app


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_nothing_is_read_before_the_log_is_shown(agent: FakeAgent) -> None:
    agent.records, agent.logs = RUNNING, {1: b"one\n"}
    app = Tabs(agent)
    async with agent.running(), app.run_test() as pilot:
        await pilot.pause()
        assert not list(app.workers)
        app.show_log()
        await until(lambda: app.view.lines == ["one"])
        app.query_one(TabbedContent).active = "other"
        await pilot.pause()
        app.show_log()
        await pilot.pause()
        assert len(list(app.workers)) == 1


async def test_lines_are_shown_as_they_come_with_a_line_between_attempts(agent: FakeAgent) -> None:
    agent.records, agent.logs = RUNNING, {1: b"one \x1b[31m[/]\n"}
    async with agent.running(), shown_log(agent) as app:
        await until(lambda: app.view.lines == ["one [/]"])
        assert app.status == "following  ·  1 line"
        agent.logs[2] = b"two\n"
        agent.records = RESUMED_AND_COMPLETED
        await until(lambda: "completed" in app.status)
        assert app.view.lines == ["one [/]", "--- attempt 2 ---", "two"]
        assert app.status == "following  ·  job completed  ·  3 lines"


async def test_a_log_that_is_shown_from_its_middle_says_so(agent: FakeAgent) -> None:
    agent.records = RUNNING
    agent.logs = {1: b"".join(b"line %d\n" % number for number in range(3_000))}
    async with agent.running(), shown_log(agent) as app:
        await until(lambda: bool(app.view.lines) and app.view.lines[-1] == "line 2999")
        assert app.view.lines[:2] == ["--- attempt 1, earlier lines left out ---", "line 1000"]


async def test_an_agent_that_is_away_is_said_until_it_is_back(agent: FakeAgent) -> None:
    agent.records, agent.logs = RUNNING, {1: b"one\n"}
    async with AsyncExitStack() as stack, shown_log(agent) as app:
        await until(lambda: "agent unreachable since" in app.status)
        assert "trying again" in app.status
        await stack.enter_async_context(agent.running())
        await until(lambda: app.view.lines == ["one"])
        assert "unreachable" not in app.status


async def test_a_job_that_the_agent_does_not_know_yet_is_waited_for(agent: FakeAgent) -> None:
    async with agent.running(), shown_log(agent) as app:
        await until(lambda: "no log yet" in app.status)
        agent.records, agent.logs = RUNNING, {1: b"one\n"}
        await until(lambda: app.view.lines == ["one"])
        assert app.status == "following  ·  1 line"


async def test_a_log_that_cannot_be_read_says_why(agent: FakeAgent) -> None:
    agent.root.mkdir(parents=True)
    (agent.root / "agent.json").write_text("[/]")
    async with shown_log(agent) as app:
        await until(lambda: "log cannot be read: " in app.status)
        assert "agent.json: is not an agent's address" in app.status


async def test_an_error_that_nobody_expected_is_named_and_the_app_goes_on(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def client(_host: LocalHost) -> None:
        raise LookupError("secret")

    monkeypatch.setattr(LocalHost, "client", client)
    async with shown_log(agent) as app:
        await until(lambda: "log cannot be read: LookupError" in app.status)
        assert "secret" not in app.status
        assert app.is_running


async def test_reading_ends_when_the_log_is_removed(agent: FakeAgent) -> None:
    agent.records, agent.logs = RUNNING, {1: b"one\n"}
    async with agent.running(), shown_log(agent) as app:
        await until(lambda: app.view.lines == ["one"])
        (worker,) = app.workers
        await app.view.remove()
        await until(lambda: worker.is_finished)
        assert worker.is_cancelled
