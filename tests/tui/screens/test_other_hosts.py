"""Jobs of another machine: where they run is seen, and what is known stays while it is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from shared.events import AdapterSaved, AdapterVerified, Event, JournalRecord
from shared.lifecycle import Activity, JobStatus, StopReason
from shared.store.store import open_store
from tests.shared.store.journal import ended, job_spec, journal, metrics, run_facts, stage, started
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.elsewhere import Elsewhere, put_elsewhere
from tests.tui.fake_agent import FakeAgent
from tests.tui.local_console import Console
from tui.screens.job import JobScreen
from tui.screens.steps import StepsScreen
from tui.widgets.job_table import JobTable

OPEN = Callable[..., AbstractAsyncContextManager[ConsolePilot]]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Cannot be reached unless a test says otherwise."""
    monkeypatch.setattr("tui.services.mirror._WATCH_PATIENCE_S", 0.1)
    monkeypatch.setattr("tui.services.feed._HANDOVER_S", 0.0)
    made = put_elsewhere(monkeypatch, tmp_path / "box")
    made.trouble = "ssh:box: connection refused."
    return made


@pytest.fixture
def opened(tmp_path: Path, box: Elsewhere) -> OPEN:
    """The console with one job on the other machine: done, or in the middle of its work."""
    console = Console(tmp_path)

    @asynccontextmanager
    async def open_with(
        *, is_done: bool, size: tuple[int, int] = (160, 40)
    ) -> AsyncIterator[ConsolePilot]:
        async with open_store(console.home / "brightrun.db") as store:
            await store.add_job(job_spec("job-there", name="over there"), "ssh:box")
            await store.apply_records("job-there", records_of(is_done=is_done))
        async with open_app(console, size=size) as pilot:
            await pilot.until_seen("over there")
            yield pilot

    return open_with


def records_of(*, is_done: bool) -> list[JournalRecord]:
    training = stage(JobStatus.TRAINING, Activity.TRAINING)
    events: list[Event] = [started(), training, run_facts(9), metrics(7, 1.2345)]
    if is_done:
        verified = AdapterVerified(
            manifest_sha256="b" * 64, prompt="Hi", generated="Ho", generated_tokens=1
        )
        saved = AdapterSaved(path="adapter", manifest_sha256="b" * 64, size_bytes=1)
        events += [saved, verified, ended(StopReason.COMPLETED)]
    return journal(*events, job_id="job-there")


async def open_the_job(opened: ConsolePilot) -> None:
    opened.app.open_job(opened.app.news["job-there"].job)
    await opened.until(lambda: opened.job_screen.history)


async def test_a_job_of_a_machine_that_is_away_keeps_its_figures_and_says_so(opened: OPEN) -> None:
    async with opened(is_done=False) as pilot:
        await pilot.until_seen("unreachable", "1.2345")
        await open_the_job(pilot)
        await pilot.until_seen(
            "unreachable since",
            "The figures are the last known ones: ssh:box: connection refused.",
            "1.2345",
            "step 7/9",
            "job-there on ssh:box",
        )


async def test_a_machine_that_is_back_is_followed_to_the_end_of_the_job(
    opened: OPEN, box: Elsewhere
) -> None:
    async with opened(is_done=False) as pilot, FakeAgent(box.agent.root).running() as agent:
        await pilot.until_seen("unreachable")
        agent.records = records_of(is_done=True)
        box.trouble = ""
        await pilot.until_seen("✓ completed")
        await pilot.until_gone("unreachable")


async def test_nothing_that_comes_by_itself_is_as_if_a_person_had_asked(
    opened: OPEN, box: Elsewhere
) -> None:
    async with opened(is_done=False) as pilot:
        await pilot.until(lambda: len(box.asked_by_a_person) >= 2)
    assert set(box.asked_by_a_person) == {False}


@pytest.mark.parametrize(("keys", "tab"), [("c", "cancel"), ("4", "files"), ("f", "fetch")])
async def test_what_a_person_does_may_ask_that_person_once(
    opened: OPEN, box: Elsewhere, keys: str, tab: str
) -> None:
    async with opened(is_done=tab != "cancel") as pilot:
        await open_the_job(pilot)
        box.asked_by_a_person.clear()
        await pilot.press(keys)
        if tab != "files":
            await pilot.until(lambda: not isinstance(pilot.app.screen, JobScreen))
            await pilot.pilot.pause()
            await pilot.press("enter")
        await pilot.until_seen("connection refused")
        await pilot.until(lambda: True in box.asked_by_a_person)
        await pilot.pilot.pause(1.2)
        assert box.asked_by_a_person.count(True) == 1


async def test_opening_the_log_may_ask_once(opened: OPEN, box: Elsewhere) -> None:
    async with opened(is_done=True) as pilot:
        await open_the_job(pilot)
        await pilot.press("3")
        await pilot.until_seen("agent unreachable since")
        await pilot.until(lambda: len(box.looked_at_by_a_person) >= 3)
        assert box.looked_at_by_a_person[:3] == [True, False, False]


async def test_the_steps_of_a_retry_are_shown_until_it_is_started(
    opened: OPEN, box: Elsewhere
) -> None:
    async with opened(is_done=True) as pilot:
        await pilot.until(lambda: pilot.app.screen.query_one(JobTable).job_id == "job-there")
        await pilot.press("r")
        await pilot.until_seen("Start “over there” again?")
        await pilot.press("enter")
        await pilot.until_seen("connection refused", "The job is written down")
        assert not isinstance(pilot.app.screen, StepsScreen)

        await pilot.press("r")
        await pilot.until_seen("Start “over there” again?")
        box.trouble = ""
        async with FakeAgent(box.agent.root).running():
            await pilot.press("enter")
            await pilot.until_seen(
                "Starting “over there” again on ssh:box", "installing the trainer's packages"
            )
            await pilot.press("escape")
            await pilot.until_seen("The job is being started.")
            assert isinstance(pilot.app.screen, StepsScreen)
            box.may_go_on.set()
            # Its training file was never here.
            await pilot.until(lambda: not isinstance(pilot.app.screen, StepsScreen))


@pytest.mark.parametrize(("width", "is_seen"), [(160, True), (120, False)])
async def test_the_table_has_a_column_for_hosts_where_there_is_room(
    opened: OPEN, width: int, is_seen: bool
) -> None:
    async with opened(is_done=True, size=(width, 30)) as pilot:
        await pilot.until_seen("✓ completed")
        assert ("HOST" in pilot.text) is is_seen
        assert ("ssh:box" in pilot.text) is is_seen


async def test_a_job_is_found_by_its_host(opened: OPEN) -> None:
    async with opened(is_done=True) as pilot:
        await pilot.press("slash", *"ssh:box")
        await pilot.until_seen("search “ssh:box”: 1")


async def test_a_host_whose_name_this_version_does_not_know_costs_only_the_log(
    opened: OPEN, tmp_path: Path
) -> None:
    async with opened(is_done=True) as pilot:
        async with open_store(Console(tmp_path).home / "brightrun.db") as store:
            await store.add_job(job_spec("job-odd", name="odd"), "moon:base")
        await pilot.until(lambda: "job-odd" in pilot.app.news)
        pilot.app.open_job(pilot.app.news["job-odd"].job)
        await pilot.until(lambda: pilot.job_screen.history)
        await pilot.press("3")
        await pilot.until_seen("moon:base", "write local")
