"""The screens of training files, on a real store and real files."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from shared.store.store import open_store
from tests.shared.dataset.documents import document, file_pair, file_pairs
from tests.shared.small_tokenizer import put_small_model
from tests.shared.store.files import reference, stored_file
from tests.shared.store.journal import job_spec
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.hostile import HOSTILE, SEEN, harm_on
from tests.tui.local_console import Console
from tui.screens.check_settings import CheckSettingsScreen
from tui.screens.confirm import ConfirmScreen
from tui.screens.dataset import DatasetScreen
from tui.screens.dataset_preview import DatasetPreviewScreen
from tui.screens.datasets import DatasetsScreen
from tui.screens.jobs import JobsScreen
from tui.screens.known_file_screen import KnownFileScreen
from tui.screens.new_job import NewJobScreen
from tui.services import check_run
from tui.services.dataset_check import CheckSettings
from tui.widgets.dataset_table import DatasetTable
from tui.widgets.job_form import JobForm
from tui.widgets.safe_input import PathInput, SafeInput


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


async def type_settings(pilot: ConsolePilot, base_model: str, max_seq_length: str) -> None:
    for field, text in zip(
        pilot.app.screen.query(SafeInput), (base_model, max_seq_length), strict=True
    ):
        field.value = text
    await pilot.press("enter")


async def checked_with(pilot: ConsolePilot) -> tuple[str | None, int]:
    """Base model and max_seq_length of the last check of the one file, as they were recorded."""
    assert pilot.app.session is not None
    registry = pilot.app.session.store.training_files
    (file,) = await registry.all()
    report = await registry.report(file.sha256)
    assert report is not None
    return file.base_model, report.max_seq_length


async def check_again(pilot: ConsolePilot) -> None:
    screen = pilot.app.screen
    assert isinstance(screen, KnownFileScreen) and screen.chosen is not None
    before = screen.chosen.file.checked_at
    await pilot.press("f5")
    await pilot.until(lambda: screen.chosen and screen.chosen.file.checked_at != before)


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


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Callable[[], threading.Event]:
    """From when it is called, a check goes on until it is stopped; then the event is set."""
    ended = threading.Event()

    def read_for_ever(path: Path, settings: CheckSettings, encoder: Any, tell: Any) -> None:
        try:
            while True:
                tell(30, 100)
                ended.wait(0.01)
        finally:
            ended.set()

    def begin() -> threading.Event:
        monkeypatch.setattr(check_run, "check_training_file", read_for_ever)
        return ended

    return begin


async def test_a_check_under_way_shows_how_far_it_is_and_can_be_stopped(
    screen: ConsolePilot, tmp_path: Path, endless: Callable[[], threading.Event]
) -> None:
    ended = endless()
    path = write(tmp_path / "long.json", "one")
    await type_path(screen, path)
    await screen.until_seen("checking long.json", "30%", "Esc stops")
    await screen.press("question_mark", "question_mark")  # The console answers meanwhile.

    await screen.press("escape")

    await screen.until(ended.is_set)
    await screen.until_gone("checking long.json")
    assert isinstance(screen.app.screen, DatasetsScreen)
    assert names_of(screen) == []


async def test_a_file_is_checked_for_another_base_model_and_length_which_later_checks_keep_to(
    screen: ConsolePilot, tmp_path: Path, endless: Callable[[], threading.Event]
) -> None:
    path = write(tmp_path / "talks.json", "one")
    model = put_small_model(tmp_path / "other")
    await add(screen, path)
    await screen.press("enter")
    await screen.until_seen("base model       tiny", "max_seq_length   4,096", "about", "b Base")

    await screen.press("b")
    await until_on(screen, CheckSettingsScreen)
    assert [field.value for field in screen.app.screen.query(SafeInput)] == ["tiny", "4096"]
    for base_model, length, told in [
        (" ", "4096", "base_model: must be"),
        (str(tmp_path / "nowhere"), "4096", "there is no such directory"),
        ("\x07nowhere", "63", "max_seq_length: must be a whole number at least 64, at most 131072"),
        ("tiny", "many", "max_seq_length: must be a whole number"),
    ]:
        await type_settings(screen, base_model, length)
        await screen.until_seen(told)
    await type_settings(screen, f"{tmp_path}/oth", "128")
    base_model = screen.app.screen.query_one(PathInput)
    await screen.until(lambda: base_model._completion[1] == f"{model}/")
    await screen.press("end", "tab", "enter")

    await until_on(screen, DatasetScreen)
    await screen.until_seen("max_seq_length   128", "exact")
    assert await checked_with(screen) == (str(model), 128)
    await check_again(screen)
    assert await checked_with(screen) == (str(model), 128)
    await screen.press("escape")
    await until_on(screen, DatasetsScreen)
    await check_again(screen)
    assert await checked_with(screen) == (str(model), 128)
    await screen.press("p")
    await until_on(screen, DatasetPreviewScreen)
    await screen.until_seen("none cut at max_seq_length 128")
    await screen.press("escape")
    await until_on(screen, DatasetsScreen)

    await screen.press("enter")
    await screen.until_seen("max_seq_length   128")
    ended = endless()
    await screen.press("b")
    await until_on(screen, CheckSettingsScreen)
    await type_settings(screen, "tiny", "512")
    await screen.until_seen("checking talks.json", "30%", "Esc stops")
    await screen.press("b")
    await screen.until_seen("One check is under way")
    await screen.press("escape")
    await screen.until(ended.is_set)
    assert await checked_with(screen) == (str(model), 128)


async def test_why_the_tokens_of_a_model_of_the_hub_are_estimates_is_told(
    screen: ConsolePilot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    await add(screen, write(tmp_path / "talks.json", "one"))
    await screen.press("enter")
    await screen.until_seen("base model       tiny")
    await screen.press("b")
    await until_on(screen, CheckSettingsScreen)
    await type_settings(screen, "no-such-org/model", "4096")
    await screen.until_seen("Token counts are estimates:", "HF_HUB_OFFLINE forbids")
    await screen.until_seen("base model       no-such-org/model", "about")


async def test_a_finding_at_a_line_that_cannot_be_read_tells_what_is_wrong_with_it(
    screen: ConsolePilot, tmp_path: Path
) -> None:
    good = {"messages": [{"role": role, "content": "Hi."} for role in ("user", "assistant")]}
    path = tmp_path / "talks.jsonl"
    path.write_text(f'{json.dumps(good)}\n{{"messages": \x1b]0;x\x07[/]}}\n')
    await add(screen, path)
    await screen.press("enter")
    await screen.until_seen("Findings  1 error")
    await screen.press("f3", "enter")
    await screen.until_seen("This line cannot be shown as a conversation")
    (notice,) = screen.app._notifications
    assert "line 2, column 14: Expecting value." in notice.message
    assert "\n«" in notice.message and "Mend the JSON there." in notice.message
    assert harm_on(screen.app) == []
    assert isinstance(screen.app.screen, DatasetScreen)


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
