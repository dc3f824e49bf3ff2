"""Versions of models on the screen, with keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from shared.deployment import DeploymentStatus
from shared.store.model_versions import Change
from shared.store.store import Store
from tests.tui.console_pilot import ConsolePilot
from tests.tui.hostile import HOSTILE, harm_on
from tests.tui.versions import BEGIN, add_completed
from tui.app import BrightRunApp
from tui.config import Config
from tui.screens.job import JobScreen
from tui.screens.model_comparison import ModelComparisonScreen
from tui.screens.models import ModelsScreen
from tui.screens.typed_line import TypedLineScreen
from tui.services.kept_versions import keep_version
from tui.widgets.model_table import ModelTable

Opened = Callable[..., AbstractAsyncContextManager[ConsolePilot]]
ELENA = Change("elena", "because")


@pytest.fixture
def opened(home: Path) -> Opened:
    @asynccontextmanager
    async def opening(size: tuple[int, int] = (120, 40)) -> AsyncIterator[ConsolePilot]:
        app = BrightRunApp(Config(home, home / "agent"))
        async with app.run_test(size=size, notifications=True) as pilot:
            made = ConsolePilot(app, pilot)
            await made.until(lambda: app.session is not None)
            await made.until_gone("opening ...")
            yield made

    return opening


async def fill(store: Store, count: int = 3, name: str = "Empathy") -> None:
    for number in range(1, count + 1):
        begin = BEGIN + timedelta(hours=number)
        settings = {"lora_r": 8 * number}
        await add_completed(
            store, f"job-{number}", name, steps=20 + number, begin=begin, **settings
        )
        await keep_version(store, f"job-{number}")


async def show(pilot: ConsolePilot) -> ModelsScreen:
    await pilot.press("m")
    await pilot.until(lambda: isinstance(pilot.app.screen, ModelsScreen))
    screen = pilot.app.screen
    assert isinstance(screen, ModelsScreen)
    await pilot.until(lambda: any(table.row_count for table in screen.query(ModelTable)))
    return screen


def told(pilot: ConsolePilot) -> str:
    """All notifications; on the screen they are broken into lines."""
    return "\n".join(each.message for each in pilot.app._notifications)


async def status_of(store: Store, version: int) -> str:
    return (await store.models.find("empathy", version)).status.value


async def test_versions_are_grouped_newest_first_and_enter_opens_the_job(
    store: Store, opened: Opened
) -> None:
    await fill(store)
    async with opened() as pilot:
        await pilot.until(lambda: "job-3" in pilot.app.news)
        await show(pilot)
        await pilot.until_seen("3 versions of 1 model", "empathy:3  stored  job job-3")
        await pilot.press("down")
        await pilot.until_seen("empathy:2  stored  job job-2")
        await pilot.press("enter")
        await pilot.until(lambda: isinstance(pilot.app.screen, JobScreen))
        assert pilot.job_screen.chosen_job().job_id == "job-2"
        await pilot.press("escape")
        await pilot.until(lambda: isinstance(pilot.app.screen, ModelsScreen))
        await pilot.press("escape")
        await pilot.until(lambda: len(pilot.app.screen_stack) == 1)


async def test_promoting_asks_why_and_production_says_that_it_is_closed(
    store: Store, opened: Opened
) -> None:
    await fill(store)
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("empathy:3  stored")
        await pilot.press("p")
        await pilot.until_seen("empathy:3: stored -> testing")
        await pilot.press("enter")
        await pilot.until_seen("Say why")
        assert await status_of(store, 3) == "stored"
        await pilot.press(*"calmer", "enter")
        await pilot.until_seen("empathy:3 is testing.", "empathy:3  testing")
        assert [each.why for each in await store.models.history()] == ["calmer"]

        await pilot.press("p")
        await pilot.until_seen("production is closed")
        assert not isinstance(pilot.app.screen, TypedLineScreen)
        await pilot.press("a")
        await pilot.until_seen("testing -> archived")
        await pilot.press("escape")
        await pilot.until(lambda: isinstance(pilot.app.screen, ModelsScreen))
        assert await status_of(store, 3) == "testing"


async def test_of_two_people_the_second_is_told_what_the_first_has_done(
    store: Store, opened: Opened
) -> None:
    await fill(store, 1)
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("empathy:1  stored")
        await pilot.press("p")
        await pilot.until_seen("stored -> testing")
        version = await store.models.find("empathy", 1)
        await store.models.move(version, DeploymentStatus.ARCHIVED, ELENA)
        await pilot.press(*"calmer", "enter")
        await pilot.until(lambda: "was stored and is archived" in told(pilot))
        await pilot.until_seen("empathy:1  archived")


async def test_deleting_keeps_the_record_under_its_own_tab(
    store: Store, opened: Opened, home: Path
) -> None:
    await fill(store, 2)
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("empathy:2  stored")
        await pilot.press("D")
        await pilot.until_seen("Delete empathy:2", "stay.")
        await pilot.press(*"bad", "enter")
        await pilot.until_seen("1 version of 1 model")
        assert (await store.models.find("empathy", 2)).is_deleted
        for _ in range(5):
            await pilot.press("v")
        await pilot.until_seen("empathy:2  deleted", "stored -> deleted")


async def test_search_and_tabs_choose_what_is_shown(store: Store, opened: Opened) -> None:
    await fill(store, 2)
    await add_completed(store, "job-x", "Pension", begin=BEGIN)
    await keep_version(store, "job-x")
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("3 versions of 2 models")
        await pilot.press("slash", *"job-x")
        await pilot.until_seen("search “job-x”", "1 version of 1 model", "pension")
        await pilot.press(*"yz")
        await pilot.until_seen("No version is like that.")
        await pilot.press("escape")
        await pilot.until_seen("3 versions of 2 models")
        await pilot.press("v", "v")
        await pilot.until_seen("0 versions of 0 models", "No version is like that.")


async def test_marked_versions_stand_side_by_side_and_can_be_exported(
    store: Store, opened: Opened, home: Path
) -> None:
    await fill(store)
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("empathy:3  stored")
        await pilot.press("c")
        await pilot.until_seen("Mark 2 to 4 versions")
        await pilot.press("space", "down", "down", "space", "c")
        await pilot.until(lambda: isinstance(pilot.app.screen, ModelComparisonScreen))
        await pilot.until_seen("A empathy:3", "B empathy:1", "lora_r", "24", "smoothed")
        await pilot.press("m", "x", "s", "e")
        await pilot.until_seen("Export each step")
        path = home / "steps.json"
        field = pilot.app.screen.query_one("#text")
        field.value = str(path)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await pilot.until_seen("46 rows written")
        assert path.is_file()
        await pilot.press("escape")
        await pilot.until(lambda: isinstance(pilot.app.screen, ModelsScreen))


async def test_at_most_four_are_marked(store: Store, opened: Opened) -> None:
    await fill(store, 5)
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("empathy:5  stored")
        for _ in range(4):
            await pilot.press("space", "down")
        await pilot.until_seen("4 marked")
        await pilot.press("space")
        await pilot.until_seen("At most 4 versions")
        await pilot.press("up", "space")
        await pilot.until_seen("3 marked")


async def test_without_versions_the_screen_says_what_to_do(store: Store, opened: Opened) -> None:
    async with opened() as pilot:
        await pilot.press("m")
        await pilot.until_seen("No versions yet", "press Escape, then n")
        await pilot.press("p", "a", "D", "b", "space", "e", "enter", "c")
        await pilot.until_seen("Mark 2 to 4 versions")
        await pilot.press("escape")
        await pilot.until_seen("No jobs yet")


async def test_a_job_that_completes_meanwhile_appears(store: Store, opened: Opened) -> None:
    await fill(store, 1)
    async with opened() as pilot:
        await show(pilot)
        await pilot.until_seen("1 version of 1 model")
        await add_completed(store, "job-new", "Empathy", begin=BEGIN + timedelta(days=1))
        await pilot.until_seen("2 versions of 1 model")


@pytest.mark.parametrize("size", [(20, 5), (80, 24)])
async def test_no_size_of_terminal_breaks_it(
    store: Store, opened: Opened, size: tuple[int, int]
) -> None:
    await fill(store)
    async with opened(size) as pilot:
        await show(pilot)
        await pilot.press("space", "down", "space", "p")
        await pilot.until(lambda: isinstance(pilot.app.screen, TypedLineScreen))
        await pilot.press("escape", "c")
        await pilot.until(lambda: isinstance(pilot.app.screen, ModelComparisonScreen))
        await pilot.pilot.resize_terminal(60, 10)
        await pilot.until_seen("A empathy")
        await pilot.pilot.resize_terminal(*size)
        await pilot.press("down", "pagedown", "escape")
        await pilot.until(lambda: isinstance(pilot.app.screen, ModelsScreen))


async def test_foreign_text_does_no_harm(store: Store, opened: Opened) -> None:
    await fill(store, 2, name=HOSTILE[:100])
    for each in await store.models.all():
        await store.models.move(each, DeploymentStatus.TESTING, Change(HOSTILE, HOSTILE))
    async with opened((160, 50)) as pilot:
        await show(pilot)
        await pilot.until_seen("2 versions of 1 model", "stored -> testing")
        assert harm_on(pilot.app) == []
        await pilot.press("space", "down", "space", "c")
        await pilot.until_seen("held-out loss")
        assert harm_on(pilot.app) == []
