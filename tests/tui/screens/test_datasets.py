"""The screens of training files, on a real store and real files."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.store.store import open_store
from tests.shared.dataset.documents import document, file_pair, file_pairs
from tests.shared.store.files import reference, stored_file
from tests.shared.store.journal import job_spec
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.hostile import HOSTILE, SEEN, harm_on
from tests.tui.local_console import Console
from tui.screens.confirm import ConfirmScreen
from tui.screens.dataset import DatasetScreen
from tui.screens.dataset_preview import DatasetPreviewScreen
from tui.screens.datasets import DatasetsScreen
from tui.screens.jobs import JobsScreen
from tui.screens.new_job import NewJobScreen
from tui.services import check_run
from tui.services.dataset_check import CheckSettings
from tui.widgets.dataset_table import DatasetTable
from tui.widgets.job_form import JobForm
from tui.widgets.safe_input import PathInput


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    yield made
    if made.agent_pid() is not None:  # A job in the store brings one up.
        made.end_detached_agent()


@pytest.fixture
async def screen(console: Console) -> AsyncIterator[ConsolePilot]:
    """The list of training files, with nothing in it."""
    async with open_app(console, size=(140, 40)) as pilot:
        await pilot.press("d")
        await until_on(pilot, DatasetsScreen)
        yield pilot


async def until_on(pilot: ConsolePilot, kind: type) -> None:
    await pilot.until(lambda: isinstance(pilot.app.screen, kind) and pilot.app.screen.is_mounted)


def write(path: Path, *names: str, **broken: list[dict[str, Any]]) -> Path:
    talks = {name: file_pairs("Hi", f"Good day, {name}.") for name in names}
    path.write_text(json.dumps(document(**talks, **broken)))
    return path


async def type_path(pilot: ConsolePilot, path: Path) -> None:
    await pilot.press("a")
    pilot.app.screen.query_one(PathInput).value = str(path)
    await pilot.press("enter")


async def add(pilot: ConsolePilot, path: Path) -> None:
    await type_path(pilot, path)
    await pilot.until(lambda: path.name in names_of(pilot))


def names_of(pilot: ConsolePilot) -> list[str]:
    screen = next(item for item in pilot.app.screen_stack if isinstance(item, DatasetsScreen))
    return [known.file.name for known in screen._known.values()]


async def test_a_file_is_added_by_its_path_opened_down_to_a_finding_and_trained(
    screen: ConsolePilot, tmp_path: Path
) -> None:
    blank = [file_pair(1, "What now?", target="  ")]
    path = write(tmp_path / "talks.json", "one", faulty=blank)
    (tmp_path / "broken.json").write_text("{")
    await screen.until_seen("No training files yet. Press a")
    await type_path(screen, tmp_path / "broken.json")
    await screen.until_seen("line 1, column 2")
    assert names_of(screen) == []

    await add(screen, path)
    await screen.until_seen("1 E", "brightrun-lora-v4 JSON")
    await screen.press("enter")
    await until_on(screen, DatasetScreen)
    await screen.until_seen("conversations    2", "Lengths", "white space")

    await screen.press("f3", "enter")
    await until_on(screen, DatasetPreviewScreen)
    await screen.until_seen("What now?")
    await screen.press("escape")
    await until_on(screen, DatasetScreen)
    await screen.press("n")
    await until_on(screen, NewJobScreen)
    assert screen.app.screen.query_one(JobForm).draft.dataset == str(path)


async def test_another_check_says_what_changed_and_marked_files_are_merged(
    screen: ConsolePilot, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.json", "one", "two")
    await add(screen, path)
    write(path, "one", "two", "three")
    await screen.press("f5")
    await screen.until_seen("conversations 2 -> 3, turns 4 -> 6")
    assert names_of(screen) == ["a.json"]  # No job was given the earlier content.

    await add(screen, write(tmp_path / "b.json", "three", "four"))
    await screen.press("space", "space")
    await screen.until_seen("2 files marked")
    await screen.press("M")
    await screen.until_seen("b+a.jsonl", "2 files merged", "1 duplicate")
    assert screen.app.screen.query_one(DatasetTable).marked == ()
    await screen.press("enter")
    await screen.until_seen("merged from", "b.json, a.json")
    await screen.press("escape", "escape")
    await until_on(screen, JobsScreen)


async def test_a_check_under_way_shows_how_far_it_is_and_can_be_stopped(
    screen: ConsolePilot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def read_for_ever(path: Path, settings: CheckSettings, encoder: Any, tell: Any) -> None:
        try:
            while True:
                tell(30, 100)
                ended.wait(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(check_run, "check_training_file", read_for_ever)
    path = write(tmp_path / "long.json", "one")
    await type_path(screen, path)
    await screen.until_seen("checking long.json", "30%", "Esc stops")
    await screen.press("question_mark", "question_mark")  # The console answers meanwhile.

    await screen.press("escape")

    await screen.until(ended.is_set)
    await screen.until_gone("checking long.json")
    assert isinstance(screen.app.screen, DatasetsScreen)
    assert names_of(screen) == []


async def test_a_file_is_forgotten_once_that_is_confirmed_and_no_job_needs_it(
    console: Console,
) -> None:
    async with open_store(console.home / "brightrun.db") as store:
        await store.training_files.record(stored_file("a", name="in use.json", path="/a"))
        await store.training_files.record(stored_file("b", name="spare.json", path="/b"))
        await store.add_job(job_spec(dataset=reference("a")), "local")
    async with open_app(console, size=(140, 40)) as pilot:
        await pilot.press("d")
        await pilot.until_seen("in use.json", "spare.json", "gone")
        for name in names_of(pilot):
            await pilot.press("delete")
            await until_on(pilot, ConfirmScreen)
            await pilot.press("y")
            if name == "in use.json":
                await pilot.until_seen("is in use by job-one")
                await pilot.press("down")
            else:
                await pilot.until(lambda: names_of(pilot) == ["in use.json"])


async def test_hostile_names_do_no_harm(console: Console) -> None:
    values = {"name": HOSTILE, "path": HOSTILE, "shape": HOSTILE, "base_model": HOSTILE}
    async with open_store(console.home / "brightrun.db") as store:
        await store.training_files.record(stored_file(**values))
        await store.add_job(job_spec(name=HOSTILE[:90], dataset=reference("a")), "local")
    async with open_app(console, size=(200, 40)) as pilot:
        await pilot.press("d")
        await pilot.until(lambda: names_of(pilot))
        assert harm_on(pilot.app) == []
        await pilot.press("enter")
        await pilot.until_seen(SEEN, "checked by an earlier version", "job-one")
        for size in [(20, 5), (80, 24), (200, 50)]:
            await pilot.pilot.resize_terminal(*size)
            await pilot.pilot.pause(0.1)
            assert harm_on(pilot.app) == []
        await pilot.press("p")
        await pilot.until_seen("is not there any more")
        await pilot.press("delete")
        await until_on(pilot, ConfirmScreen)
        assert harm_on(pilot.app) == []
