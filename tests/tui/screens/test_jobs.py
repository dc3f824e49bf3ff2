"""The table of all jobs, on a real store with a real agent; only the trainer is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.local_console import Console
from tui.screens.jobs import JobsScreen
from tui.widgets.job_table import JobTable


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Three jobs: one that is done, one that failed, one that goes on for long."""
    made = Console(tmp_path_factory.mktemp("jobs"))
    made.start_agent()
    for job_id, notes in (("job-done", "steps=4"), ("job-bad", "at=2 dies=crash until=9")):
        made.start(job_id, notes, "--name", f"the {job_id.removeprefix('job-')} one")
        made.run("watch", job_id)
    yield made
    made.kill_agent()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    yield made
    if made.agent_pid() is not None:
        made.end_detached_agent()


def table(opened: ConsolePilot) -> JobTable:
    return opened.app.screen.query_one(JobTable)


async def test_an_empty_store_says_what_to_do(empty: Console) -> None:
    async with open_app(empty) as opened:
        await opened.until_seen("No jobs yet. Press n")


async def test_every_job_has_a_line_with_its_figures(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("the done one", "✓ completed", "4/4", "✗ failed", "2 jobs")
        line = next(line for line in opened.text.splitlines() if "the done one" in line)
        assert "100%" in line
        assert "0:00:0" in line


async def test_the_tabs_filter_by_status(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("completed 1", "failed 1")
        await opened.click("#failed")
        await opened.until_gone("the done one")
        await opened.until_seen("the bad one")
        for _ in range(2):  # cancelled, then all again
            await opened.press("v")
        await opened.until_seen("the done one", "the bad one")


async def test_a_search_narrows_the_table_and_escape_ends_it(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("the done one")
        await opened.press("slash", *"done")
        await opened.until_gone("the bad one")
        await opened.until_seen("search “done”: 1")
        await opened.press("escape")
        await opened.until_seen("the bad one")
        assert isinstance(opened.app.focused, JobTable)
        assert not opened.app.screen.query_one("#search", Input).display


async def test_sorting_keeps_the_cursor_on_its_job(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("the done one")
        await opened.press("down")
        await opened.until(lambda: table(opened).job_id == "job-done")
        await opened.press("s")
        await opened.until_seen("NAME▲")
        assert table(opened).job_id == "job-done"
        await opened.click(JobTable, offset=(2, 0))
        await opened.until_seen("NAME▼")
        assert table(opened).job_id == "job-done"


async def test_figures_change_in_place_while_cursor_and_scroll_stay(console: Console) -> None:
    await console.start_beside("job-live", "steps=400 delay=0.05", "the live one")
    try:
        async with open_app(console, size=(80, 10)) as opened:
            await opened.until_seen("the live one", "● training")
            await opened.press("down", "down")
            await opened.until(lambda: table(opened).job_id == "job-done")
            shown = table(opened)
            rows, scroll_y = list(shown.rows), shown.scroll_y
            step = opened.app.news["job-live"].job.state.step
            await opened.until(lambda: opened.app.news["job-live"].job.state.step > step + 20)
            await opened.pilot.pause(0.6)
            assert list(shown.rows) == rows
            assert (shown.job_id, shown.scroll_y) == ("job-done", scroll_y)
    finally:
        assert await console.call("cancel", "job-live") == 0


async def test_a_job_that_another_console_starts_appears(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("the done one")
        await console.start_beside("job-late", "steps=2", "the late one")
        await opened.until_seen("the late one")
        await opened.until(lambda: opened.app.news["job-late"].job.status.is_final)


async def test_the_footer_shows_only_what_can_be_done_to_the_chosen_job(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("the done one")
        await opened.until(lambda: table(opened).job_id is not None)
        job_ids = list(table(opened)._shown)
        table(opened).move_cursor(row=job_ids.index("job-done"))
        await opened.until_seen("f Fetch", "r Retry")
        assert "c Cancel" not in opened.text
        table(opened).move_cursor(row=job_ids.index("job-bad"))
        await opened.until_gone("f Fetch")


async def test_a_click_chooses_and_a_second_one_opens_and_escape_comes_back(
    console: Console,
) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("the done one")
        row = list(table(opened)._shown).index("job-done")
        await opened.click(JobTable, offset=(3, row + 1))
        await opened.until(lambda: table(opened).job_id == "job-done")
        await opened.click(JobTable, offset=(3, row + 1))
        await opened.until(lambda: not isinstance(opened.app.screen, JobsScreen))
        await opened.until_seen("the done one", "1 Loss")
        await opened.press("escape")
        await opened.until(lambda: isinstance(opened.app.screen, JobsScreen))


async def test_the_palette_finds_a_job_by_its_name(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("the done one")
        await opened.press("ctrl+p", *"open the done")
        await opened.until_seen("Open the done one (job-done)")
        await opened.press("enter")
        await opened.until_seen("1 Loss", "the done one")


async def test_a_job_that_is_opened_over_a_form_leaves_what_was_typed(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.until_seen("the done one")
        await opened.press("n")
        await opened.until_seen("New job")
        await opened.press(*"typed.json")
        await opened.press("ctrl+p", *"open the done")
        await opened.until_seen("Open the done one (job-done)")
        await opened.press("enter")
        await opened.until_seen("1 Loss", "the done one")
        await opened.press("escape")
        await opened.until_seen("New job", "typed.json")


async def test_help_lists_the_keys_and_goes_away_again(console: Console) -> None:
    async with open_app(console) as opened:
        await opened.press("question_mark")
        await opened.until_seen("Search", "Every job")
        await opened.press("question_mark")
        await opened.until_gone("Every job")


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (200, 60)])
async def test_any_size_of_terminal_is_survived(console: Console, size: tuple[int, int]) -> None:
    async with open_app(console, size) as opened:
        await opened.until(lambda: table(opened).row_count >= 2)
        await opened.pilot.resize_terminal(40, 12)
        await opened.pilot.resize_terminal(*size)
        await opened.press("enter")
        await opened.until(lambda: not isinstance(opened.app.screen, JobsScreen))
