"""The web application's training files in the console, on a real PostgREST."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.remote.proxy import ChaosProxy
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.hostile import HOSTILE, SEEN, harm_on
from tests.tui.local_console import Console, document
from tests.tui.web_application import CONTENT, WebApplication
from tui.screens.dataset import DatasetScreen
from tui.screens.datasets import DatasetsScreen
from tui.screens.new_job import NewJobScreen
from tui.screens.remote_files import RemoteFilesScreen
from tui.widgets.remote_file_table import RemoteFileTable

LINES = json.dumps(document()).encode()


@pytest.fixture
def web(fresh_supabase: SupabaseRig) -> WebApplication:
    return WebApplication(fresh_supabase)


@pytest.fixture
def console(tmp_path: Path, web: WebApplication, monkeypatch: pytest.MonkeyPatch) -> Console:
    made = Console(tmp_path)
    for name, value in web.rig.environment().items():
        monkeypatch.setenv(name, value)
        made.environment[name] = value
    return made


def add_json(web: WebApplication, **changes: Any) -> str:
    """A JSON file, which can be trained."""
    file_id = str(uuid.uuid4())
    values = {"jsonl_file_path": None, "jsonl_file_size": None, "json_file_size": len(LINES)}
    return web.add(
        LINES, id=file_id, json_file_path=f"{file_id}/training.json", **{**values, **changes}
    )


async def on_screen(pilot: ConsolePilot, kind: type) -> None:
    await pilot.until(lambda: isinstance(pilot.app.screen, kind) and pilot.app.screen.is_mounted)


async def web_files(pilot: ConsolePilot) -> None:
    await pilot.press("d")
    await on_screen(pilot, DatasetsScreen)
    await pilot.press("w")
    await on_screen(pilot, RemoteFilesScreen)


@pytest.fixture
async def opened(console: Console) -> AsyncIterator[ConsolePilot]:
    async with open_app(console) as pilot:
        yield pilot


async def test_enter_fetches_checks_and_opens_the_file(
    opened: ConsolePilot, web: WebApplication
) -> None:
    file_id = add_json(web, name="Week one", description="of the pilot")
    await web_files(opened)
    await opened.until_seen("Week one", "of the pilot", "1 file")

    await opened.press("enter")

    await on_screen(opened, DatasetScreen)
    await opened.until_seen("Week one.json")
    assert opened.app.session is not None
    [known] = await opened.app.session.store.training_files.all()
    fetched = await opened.app.session.store.web_files.get(file_id)
    assert fetched is not None
    assert (known.sha256, known.path) == (fetched.sha256, fetched.path)

    await opened.press("escape", "w")
    await on_screen(opened, RemoteFilesScreen)
    await opened.until_seen("Week one", "yes")


async def test_the_new_job_form_takes_one_by_its_picker(
    opened: ConsolePilot, web: WebApplication
) -> None:
    add_json(web, name="Week one")
    await opened.press("n")
    await on_screen(opened, NewJobScreen)
    await opened.press("ctrl+o")
    await on_screen(opened, DatasetsScreen)
    await opened.press("w")
    await opened.until_seen("Week one")
    await opened.press("enter")
    await opened.until_seen("Week one.json", "1 file")
    await opened.press("enter")
    await on_screen(opened, NewJobScreen)
    await opened.until_seen("Week one.json")


async def test_pages_are_turned_and_names_are_searched(
    opened: ConsolePilot, web: WebApplication
) -> None:
    web.rig.execute(
        "insert into training_files (name, created_at) select 'file ' || n, "
        "now() - n * interval '1 minute' from generate_series(1, 150) as n"
    )
    await web_files(opened)
    await opened.until_seen("page 1 of 2", "file 1 ")
    await opened.press("n")
    await opened.until_seen("page 2 of 2", "file 101")
    await opened.press("p")
    await opened.until_seen("page 1 of 2")

    await opened.press("slash", *"file 149", "enter")
    await opened.until_seen("1 file", "“file 149”")
    await opened.press("slash", *"x", "enter")
    await opened.until_seen("Nothing fits the search")
    await opened.press("escape")
    await on_screen(opened, DatasetsScreen)


async def test_a_download_can_be_stopped_and_what_came_is_kept(
    console: Console, web: WebApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = web.add(name="Week one")
    async with ChaosProxy(web.rig.gateway.port) as proxy:
        monkeypatch.setenv("SUPABASE_URL", f"http://127.0.0.1:{proxy.port}")
        console.environment["SUPABASE_URL"] = f"http://127.0.0.1:{proxy.port}"
        async with open_app(console) as opened:
            await web_files(opened)
            await opened.until_seen("Week one")
            proxy.bytes_per_s = 300_000.0
            await opened.press("enter")
            await opened.until_seen("fetching Week one", "%")
            await opened.press("escape")
            await opened.until_seen("stopped; what has arrived is kept")
            assert isinstance(opened.app.screen, RemoteFilesScreen)
    part = console.home / "training-sets" / "web" / file_id / ".jsonl.part"
    assert 0 < part.stat().st_size < len(CONTENT)


async def test_what_cannot_be_had_is_said_and_the_screen_stays(
    opened: ConsolePilot, web: WebApplication
) -> None:
    web.add(None, name="no object")
    await web_files(opened)
    await opened.until_seen("no object")
    await opened.press("enter")
    await opened.until_seen("no such object")
    web.rig.faults.add(path="/rest/v1/training_files", status=503, times=None)
    await opened.press("f5")
    await opened.until_seen("Supabase cannot answer now")


async def test_names_do_no_harm_and_small_terminals_hold(
    console: Console, web: WebApplication
) -> None:
    web.add(None, name=HOSTILE.replace("\x00", ""), description=HOSTILE.replace("\x00", ""))
    async with open_app(console, size=(200, 50)) as pilot:
        await web_files(pilot)
        table = pilot.app.screen.query_one(RemoteFileTable)
        await pilot.until(lambda: table.row_count == 1)
        for size in [(20, 5), (80, 24), (200, 50)]:
            await pilot.pilot.resize_terminal(*size)
            await pilot.pilot.pause()
            assert harm_on(pilot.app) == []
        await pilot.until_seen(SEEN)


async def test_without_a_project_there_is_no_such_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    async with open_app(Console(tmp_path)) as pilot:
        await pilot.press("d")
        await on_screen(pilot, DatasetsScreen)
        await pilot.press("w")
        await pilot.pilot.pause()
        assert isinstance(pilot.app.screen, DatasetsScreen)
