"""The comparison of a sweep on the screen, with keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from shared.lifecycle import JobStatus, StopReason
from shared.store.store import Store
from tests.tui.console_pilot import ConsolePilot
from tests.tui.hostile import HOSTILE, harm_on
from tests.tui.local_console import end_agents_under
from tests.tui.sweeps import add_sweep, history, the_sweep
from tui.app import BrightRunApp
from tui.config import Config
from tui.screens.job import JobScreen
from tui.screens.sweep import SweepScreen
from tui.views.comparison import MARKS
from tui.widgets.comparison_table import ComparisonTable

Opened = Callable[..., AbstractAsyncContextManager[ConsolePilot]]


@pytest.fixture(autouse=True)
def no_agent_stays(tmp_path: Path) -> Iterator[None]:
    """A console brings up the agent of a host that has a job to look after."""
    yield
    end_agents_under(tmp_path)


@pytest.fixture
def opened(home: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """The console, in which no job is given its turn."""

    async def nothing(*_: object) -> None:
        """Give no turn."""

    monkeypatch.setattr("tui.services.host_queue.HostQueue._look", nothing)

    @asynccontextmanager
    async def opening(size: tuple[int, int] = (120, 40)) -> AsyncIterator[ConsolePilot]:
        app = BrightRunApp(Config(home, home / "agent"))
        async with app.run_test(size=size, notifications=True) as pilot:
            made = ConsolePilot(app, pilot)
            await made.until(lambda: "grid-01" in app.news)
            yield made

    return opening


async def show(pilot: ConsolePilot) -> SweepScreen:
    pilot.app.open_sweep("grid")
    await pilot.until(lambda: isinstance(pilot.app.screen, SweepScreen))
    screen = pilot.app.screen
    assert isinstance(screen, SweepScreen)
    await pilot.until(lambda: any(table.row_count for table in screen.query(ComparisonTable)))
    return screen


async def test_a_job_of_a_sweep_opens_it_and_the_sweep_opens_its_jobs(
    store: Store, opened: Opened
) -> None:
    await add_sweep(store)
    async with opened() as pilot:
        pilot.app.open_job(pilot.app.news["grid-01"].job)
        await pilot.until(lambda: pilot.job_screen.history)
        await pilot.press("w")
        await pilot.until_seen("Elena  4 jobs, 3 ended", "A*", "lr=2e-4 r=8")
        await pilot.press("down", "enter")
        await pilot.until(lambda: isinstance(pilot.app.screen, JobScreen))
        await pilot.until_seen("lr=1e-4 r=8")
        await pilot.press("escape")
        await pilot.until(lambda: isinstance(pilot.app.screen, SweepScreen))
        await pilot.press("escape")
        await pilot.until(lambda: len(pilot.app.screen_stack) == 1)


async def test_a_job_of_no_sweep_offers_none(store: Store, opened: Opened) -> None:
    jobs = await add_sweep(store)
    spec = (await store.get_job(jobs[0])).spec.model_copy(update={"job_id": "alone"})
    await store.add_job(spec, "local")
    await store.settle_job("alone", JobStatus.FAILED, "no")
    async with opened() as pilot:
        await pilot.until(lambda: "alone" in pilot.app.news)
        pilot.app.open_job(pilot.app.news["alone"].job)
        await pilot.until(lambda: pilot.job_screen.history)
        assert " Sweep" not in pilot.text
        await pilot.press("w")
        assert isinstance(pilot.app.screen, JobScreen)


async def test_the_palette_finds_sweeps(store: Store, opened: Opened) -> None:
    await add_sweep(store)
    async with opened() as pilot:
        await pilot.press("ctrl+p", *"compare")
        await pilot.until_seen("Compare sweep grid")
        await pilot.press("enter")
        await pilot.until(lambda: isinstance(pilot.app.screen, SweepScreen))


async def test_keys_choose_curve_axis_and_which_jobs_are_drawn(
    store: Store, opened: Opened
) -> None:
    await add_sweep(store)
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("loss smoothed (0.6) against step")
        await pilot.press("m")
        await pilot.until_seen("held-out loss against step")
        await pilot.press("m", "x")
        await pilot.until_seen("small letters against epoch")
        await pilot.press("x", "s", "s")
        await pilot.until_seen("loss, held-out loss in small letters against tokens")
        await pilot.press("space")
        await pilot.until(lambda: " *" in pilot.text and "A*" not in pilot.text)
        await pilot.until_seen("B ", "C ")
        await pilot.press("down", "down", "down", "space")
        await pilot.until(lambda: "A   lr=2e-4 r=16" in pilot.text)


async def test_why_a_job_failed_stands_below_the_table(store: Store, opened: Opened) -> None:
    await add_sweep(store)
    async with opened((80, 24)) as pilot:
        await show(pilot)
        assert "CUDA out of memory" not in pilot.text
        await pilot.press("down", "down")
        await pilot.until_seen("out_of_memory: CUDA out of memory: 78.3 of 80.0 GB")
        await pilot.press("up")
        await pilot.until_gone("CUDA out of memory")


async def test_what_happens_to_a_job_is_seen_without_a_key(store: Store, opened: Opened) -> None:
    await add_sweep(store)
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("○ queued", "3 ended")
        # Its end first: the console would bring up an agent for a job that its host has.
        records = history("grid-04", 30, 0.5, StopReason.COMPLETED)
        await store.apply_records("grid-04", records)
        await store.queue.handed_over("grid-04")
        pilot.app.look_for_jobs()
        await pilot.until_seen("4 ended", "D*")
        first = pilot.app.screen.query_one(ComparisonTable).get_row_at(0)
        assert "lr=2e-4 r=16" in [str(cell) for cell in first]


async def test_cancelling_all_asks_and_then_ends_those_that_wait(
    store: Store, opened: Opened
) -> None:
    await add_sweep(store)
    async with opened() as pilot:
        await show(pilot)
        await pilot.press("c")
        await pilot.until_seen("Cancel 1 job of “Elena”?")
        await pilot.press("n")
        await pilot.until_gone("Cancel 1 job of")
        assert not (await store.get_job("grid-04")).status.is_final
        await pilot.press("c", "y")
        await pilot.until_seen("4 ended")
        assert (await store.get_job("grid-04")).status is JobStatus.CANCELLED
        await pilot.until_gone("Cancel all")


async def test_no_more_jobs_are_drawn_than_there_are_letters(store: Store, opened: Opened) -> None:
    await add_sweep(store, the_sweep("Big", "seed=" + ",".join(map(str, range(11)))))
    async with opened() as pilot:
        await show(pilot)
        marks = {f"{mark}" for mark in MARKS}
        table = pilot.app.screen.query_one(ComparisonTable)
        shown = {str(table.get_row_at(row)[0]).strip(" *") for row in range(11)} - {""}
        assert shown == marks
        table.move_cursor(row=9)
        await pilot.press("space")
        await pilot.until_seen("At most 8 jobs are drawn")


@pytest.mark.parametrize("size", [(120, 40), (40, 12)])
async def test_hostile_names_and_reasons_are_only_words(
    store: Store, opened: Opened, size: tuple[int, int]
) -> None:
    sweep = the_sweep(HOSTILE[:90], f"target_modules=q_proj;{HOSTILE.replace(';', '')[:80]}")
    await add_sweep(store, sweep)
    await store.settle_job("grid-02", JobStatus.FAILED, HOSTILE)
    async with opened(size) as pilot:
        await show(pilot)
        await pilot.press("down")
        await pilot.pilot.pause(0.3)
        assert harm_on(pilot.app) == []
        await pilot.press("ctrl+p", *"sweep")
        await pilot.pilot.pause(0.3)
        assert harm_on(pilot.app) == []
