"""No text from outside can steer the terminal, be clicked, or bring the console down.

A job is hostile in every field that a person or a machine may fill; its agent is so too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.widgets import Input, TabbedContent

from shared.errors import AgentUnreachable
from shared.events import (
    AdapterSaved,
    AdapterVerified,
    CancelRequested,
    GpuReading,
    GpuSample,
    JournalRecord,
    LogLine,
)
from shared.job_spec import DatasetReference, JobSpec
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.store.store import Store
from tests.shared.store.journal import ended, journal, metrics, run_facts, stage, started
from tests.tui.console_pilot import ConsolePilot
from tests.tui.fake_agent import FakeAgent
from tests.tui.hostile import HOSTILE, SEEN, harm_on
from tui.app import BrightRunApp
from tui.config import Config
from tui.screens.new_job import NewJobScreen
from tui.services.hosts.local import LocalHost
from tui.views.job_draft import JobDraft

TYPED = "[/] [@click=app.quit]\x1b]52;c;aGk=\x07"


_JOBS = (("job-done", True, "local"), ("job-away", False, "local"), ("job-odd", True, HOSTILE))


def spec(job_id: str) -> JobSpec:
    return JobSpec(
        job_id=job_id,
        name=SEEN + HOSTILE[-70:],
        notes=HOSTILE,
        tags=(HOSTILE,),
        dataset=DatasetReference(file_name=HOSTILE, sha256="a" * 64, size_bytes=1),
        base_model=HOSTILE,
        base_model_revision=HOSTILE,
    )


def hostile_records(job_id: str, *, is_done: bool) -> list[JournalRecord]:
    facts = run_facts(3).model_copy(
        update={"device": HOSTILE, "optim": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    )
    detail = stage(JobStatus.TRAINING, Activity.TRAINING).model_copy(update={"detail": HOSTILE})
    saved = AdapterSaved(path=HOSTILE, manifest_sha256="b" * 64, size_bytes=1)
    verified = AdapterVerified(
        manifest_sha256="b" * 64, prompt=HOSTILE, generated=HOSTILE, generated_tokens=1
    )
    events = [
        started().model_copy(update={"detail": HOSTILE, "agent_version": HOSTILE}),
        detail,
        facts,
        metrics(1, 2.0),
        GpuSample(gpus=(GpuReading(index=0, temperature_c=-7, held_back_by=(HOSTILE,)),)),
        LogLine(level="error", message=HOSTILE),
        CancelRequested(reason=HOSTILE),
        saved,
        verified,
    ]
    if is_done:
        events.append(ended(StopReason.TRAINER_CRASHED, detail=HOSTILE))
    return journal(*events, job_id=job_id)


@pytest.fixture
async def opened(
    home: Path, agent: FakeAgent, store: Store, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ConsolePilot]:
    """The console on hostile jobs: one has ended, one is unreachable, one is on no known host."""

    async def nobody(self: LocalHost, on_step: object = None) -> None:
        raise AgentUnreachable(HOSTILE)

    monkeypatch.setattr("tui.services.mirror._WATCH_PATIENCE_S", 0.1)
    for job_id, is_done, host in _JOBS:
        await store.add_job(spec(job_id), host)
        await store.apply_records(job_id, hostile_records(job_id, is_done=is_done))
    agent.files = {HOSTILE.replace("/", "|"): b"x"}
    agent.records = hostile_records("job-done", is_done=True)
    agent.logs = {1: HOSTILE.encode("utf-8", "surrogatepass") + b"\n"}
    agent.health = {"root": HOSTILE}
    app = BrightRunApp(Config(home, home / "agent"))
    async with agent.running(), app.run_test(size=(160, 50), notifications=True) as pilot:
        made = ConsolePilot(app, pilot)
        await made.until(lambda: len(app.news) == len(_JOBS))
        yield made


async def unharmed(opened: ConsolePilot, *seen: str) -> None:
    """The words are seen, and nothing but words came to the screen."""
    await opened.until_seen(*seen)
    assert harm_on(opened.app) == []
    assert opened.app.is_running


async def test_the_table_and_its_search(opened: ConsolePilot) -> None:
    await unharmed(opened, "[@click=app.quit]")
    await opened.press("slash")
    opened.app.screen.query_one("#search", Input).value = TYPED
    await unharmed(opened, "search “")


@pytest.mark.parametrize("tab", ["loss", "events", "log", "files", "settings"])
async def test_every_tab_of_a_job(opened: ConsolePilot, tab: str) -> None:
    opened.app.open_job(opened.app.news["job-done"].job)
    await opened.until(lambda: opened.job_screen.history)
    opened.app.screen.query_one(TabbedContent).active = tab
    await unharmed(opened, SEEN, "trainer_crashed")
    await opened.pilot.pause(0.6)
    await unharmed(opened, SEEN)


@pytest.mark.parametrize("tab", ["loss", "log", "settings"])
async def test_a_job_on_a_host_of_hostile_name(opened: ConsolePilot, tab: str) -> None:
    opened.app.open_job(opened.app.news["job-odd"].job)
    await opened.until(lambda: opened.job_screen.history)
    opened.app.screen.query_one(TabbedContent).active = tab
    await unharmed(opened, SEEN, "trainer_crashed")
    await opened.pilot.pause(0.6)
    await unharmed(opened, SEEN)


async def test_a_form_with_a_host_of_hostile_name(opened: ConsolePilot) -> None:
    opened.app.open_new_job(JobDraft(host=HOSTILE))
    await unharmed(opened, "New job", "✗ host")
    opened.app.screen.query_one("#row-host Input").focus()
    await unharmed(opened, "write local, runpod, ssh:NAME")
    screen = opened.app.screen
    assert isinstance(screen, NewJobScreen)
    screen.post_message(screen.Stepped(HOSTILE))
    await opened.pilot.pause(0.2)
    await unharmed(opened, SEEN)


async def test_the_dialogs(opened: ConsolePilot) -> None:
    opened.app.open_job(opened.app.news["job-done"].job)
    await opened.until(lambda: opened.job_screen.history)
    await opened.press("r")
    await unharmed(opened, f"Start “{SEEN}")
    await opened.press("escape", "f")
    await unharmed(opened, "Fetch the adapter of “")
    opened.app.screen.query_one("#directory", Input).value = TYPED
    await unharmed(opened, "once every hash holds")
    await opened.press("escape", "escape")
    opened.app.open_job(opened.app.news["job-away"].job)
    await opened.until(lambda: opened.job_screen.history)
    await opened.press("c")
    await unharmed(opened, f"Cancel “{SEEN}")


async def test_a_machine_that_cannot_be_reached_and_says_why(
    opened: ConsolePilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.services.feed._HANDOVER_S", 0.0)
    opened.app.open_job(opened.app.news["job-away"].job)
    await opened.until(lambda: opened.app.news["job-away"].unreachable is not None)
    await unharmed(opened, "unreachable since", SEEN)


async def test_notifications_and_the_palette(opened: ConsolePilot) -> None:
    opened.app._jobs_screen.complain(AgentUnreachable(HOSTILE))
    opened.app._notify_end(opened.app.news["job-done"].job)
    await unharmed(opened, "[/some/path]")
    await opened.press("ctrl+p", *"open")
    await unharmed(opened, f"Open {SEEN}")


async def test_a_store_that_cannot_be_read(opened: ConsolePilot) -> None:
    opened.app._on_trouble(HOSTILE)
    await unharmed(opened, "[@click=app.quit]")
