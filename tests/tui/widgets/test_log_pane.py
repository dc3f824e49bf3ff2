from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.selection import Selection
from textual.widgets import TabbedContent, TabPane

from tests.tui.widgets.log_reading import Reader, numbered, reading
from tui.widgets.line_view import LineView
from tui.widgets.log_pane import LogPane

HOSTILE = {
    "[/]": "[/]",
    "[/some/path]": "[/some/path]",
    "[@click=app.quit]x[/]": "[@click=app.quit]x[/]",
    "[bold": "[bold",
    "\x1b]52;c;aGk=\x07clip": "clip",
    "\x1b]0;title\x07named": "named",
    "\x1b[31mred\x1b[0m\x1b[2J": "red",
    "\u202eevil": "evil",
    "lone \ud800 surrogate": "lone  surrogate",
    "\x9b31mc1\x85\x7f": "c1",
    "a\tb": "a       b",
    "": "",
    "日本語 wide": "日本語 wide",
}


# --- what is shown ----------------------------------------------------------------------------


async def test_foreign_text_is_shown_as_text_and_reaches_the_terminal_harmless() -> None:
    async with reading(HOSTILE, size=(60, 24)) as reader:
        assert reader.rows[: len(HOSTILE)] == list(HOSTILE.values())
        assert reader.pane.lines == list(HOSTILE.values())
        for y in range(24):
            for segment in reader.view.render_line(y):
                assert not any(
                    ord(character) < 32 or 127 <= ord(character) < 160 or character == "\u202e"
                    for character in segment.text
                )
                assert segment.style is None or "@click" not in segment.style.meta
        await reader.pilot.click(LineView, offset=(3, 2))
        assert reader.app.is_running


async def test_hostile_states_are_shown_as_text() -> None:
    async with reading() as reader:
        reader.pane.set_state("[/] \x1b]52;c;aGk=\x07unreachable\n[bold")
        await reader.pilot.pause()
        assert reader.status == "following  ·  [/] unreachable [bold  ·  0 lines"
        reader.pane.set_state("")
        assert reader.status == "following  ·  0 lines"


async def test_the_redrawings_of_a_progress_bar_become_lines() -> None:
    async with reading(["10%\r20%\r\n30%", "end\n"]) as reader:
        assert reader.pane.lines == ["10%", "20%", "30%", "end"]


async def test_a_very_long_line_goes_on_in_the_next() -> None:
    async with reading(["x" * 9_000, "y"]) as reader:
        assert [len(line) for line in reader.pane.lines] == [4_000, 4_000, 1_000, 1]
        assert "".join(reader.pane.lines) == "x" * 9_000 + "y"


async def test_of_12_000_lines_the_last_10_000_stay() -> None:
    async with reading() as reader:
        for begin in range(0, 12_000, 1_000):
            reader.pane.add_lines(numbered(1_000, begin))
        assert reader.pane.lines == numbered(10_000, 2_000)
        reader.pane.add_lines(numbered(25_000, 12_000))
        assert reader.pane.lines == numbered(10_000, 27_000)
        await reader.pilot.pause()
        assert reader.rows[-1] == "line 36999"
        assert reader.status == "following  ·  10,000 lines"


async def test_lines_are_coloured_by_what_they_say() -> None:
    def line_style(line: str) -> str | None:
        return "bold $text-error" if "error" in line else None

    async with reading(["fine", "an error"], line_style=line_style) as reader:
        plain, error = (next(iter(reader.view.render_line(y))).style for y in (0, 1))
        assert plain is not None
        assert error is not None
        assert error.bold
        assert error.color != plain.color
        assert error.bgcolor == plain.bgcolor


async def test_a_line_wider_than_the_window_is_scrolled_to() -> None:
    async with reading(["begin " + "-" * 100 + " the end"]) as reader:
        assert "the end" not in reader.rows[0]
        await reader.press("ctrl+pagedown", "ctrl+pagedown")
        assert reader.rows[0].endswith("the end")


async def test_cleared_it_begins_again() -> None:
    async with reading(numbered(50)) as reader:
        await reader.press("home")
        reader.pane.clear()
        await reader.add("new")
        assert reader.rows[:2] == ["new", ""]
        assert reader.status == "following  ·  1 line"


# --- follow and pause -------------------------------------------------------------------------


async def test_it_follows_the_end() -> None:
    async with reading(numbered(100)) as reader:
        assert reader.rows == numbered(12, 88)
        await reader.add("one more")
        assert reader.rows[-1] == "one more"
        assert reader.status == "following  ·  101 lines"


async def test_it_follows_when_a_wide_line_brings_a_scrollbar() -> None:
    async with reading(numbered(100)) as reader:
        await reader.add("x" * 100)
        assert set(reader.rows[-1]) == {"x"}


async def test_it_follows_through_other_sizes_of_the_terminal() -> None:
    async with reading(numbered(100)) as reader:
        for size in ((60, 8), (60, 30), (30, 14)):
            await reader.pilot.resize_terminal(*size)
            await reader.pilot.pause()
            assert reader.rows[-1] == "line 99"
        assert reader.status.startswith("following")


@pytest.mark.parametrize("key", ["up", "pageup", "home"])
async def test_scrolling_up_pauses_and_end_follows_again(key: str) -> None:
    async with reading(numbered(100)) as reader:
        await reader.press(key)
        before = reader.rows
        await reader.add("new", "newer")
        assert reader.rows == before != numbered(12, 88)
        assert reader.status == "paused, 2 new lines  ·  102 lines"
        await reader.press("end")
        assert reader.rows[-1] == "newer"
        assert reader.status == "following  ·  102 lines"


async def test_the_wheel_pauses_and_follows_again_at_the_end() -> None:
    async with reading(numbered(100)) as reader:
        await reader.scroll(events.MouseScrollUp)
        assert reader.status.startswith("paused")
        await reader.add("new")
        while reader.rows[-1] != "new":
            await reader.scroll(events.MouseScrollDown)
        assert reader.status.startswith("following")


async def test_space_pauses_at_the_end_and_follows_again() -> None:
    async with reading(numbered(100)) as reader:
        await reader.press("space")
        await reader.add("new")
        assert reader.rows == numbered(12, 88)
        assert reader.status == "paused, 1 new line  ·  101 lines"
        await reader.press("space")
        assert reader.rows[-1] == "new"


async def test_paused_lines_stand_still_while_old_ones_are_dropped() -> None:
    async with reading(numbered(100), max_lines=100) as reader:
        await reader.press("up", "up", "space", "space", "up")
        before = reader.rows
        for number in range(8):
            await reader.add(*numbered(10, 100 + 10 * number))
            assert reader.rows == before
        await reader.add(*numbered(500, 1_000))
        assert reader.rows[0] == "line 1400"
        assert reader.status == "paused, 580 new lines  ·  100 lines"


async def test_lines_that_come_while_it_is_hidden_are_followed_when_it_is_shown() -> None:
    class Tabs(App[None]):
        def compose(self) -> ComposeResult:
            with TabbedContent(initial="other"):
                yield TabPane("Other", id="other")
                with TabPane("Log", id="log"):
                    yield LogPane(save_as="job.log")

    app = Tabs()
    async with app.run_test(size=(60, 14)) as pilot:
        app.query_one(LogPane).add_lines(numbered(100))
        await pilot.pause()
        app.query_one(TabbedContent).active = "log"
        await pilot.pause()
        view = app.query_one(LineView)
        assert view.is_following
        assert view.visible_lines[-1] == "line 99"
        assert view.vertical_scrollbar.position == view.scroll_y == view.max_scroll_y


# --- copy and save ----------------------------------------------------------------------------


async def test_copying_takes_the_lines_in_sight_in_their_full_length() -> None:
    async with reading([*numbered(50), "x" * 100]) as reader:
        await reader.press("y")
        lines = [*numbered(10, 40), "x" * 100]
        assert reader.app.clipboard == "\n".join(lines)
        assert reader.app.told == ["copied 11 lines"]


async def test_copying_takes_what_is_selected_also_after_lines_were_dropped() -> None:
    async with reading(numbered(12), max_lines=12) as reader:
        await reader.pilot.mouse_down(LineView, offset=(5, 4))
        await reader.pilot.hover(LineView, offset=(3, 6))
        await reader.pilot.mouse_up(LineView, offset=(3, 6))
        await reader.add("line 12", "line 13")
        await reader.press("y")
        assert reader.app.clipboard == "4\nline 5\nline"
        assert reader.app.told == ["copied the selected text"]


async def test_a_selection_behind_wide_characters_is_the_one_that_is_seen() -> None:
    async with reading(["日本語日本語 and " + "-" * 60]) as reader:
        reader.view.scroll_to(x=4, animate=False)
        offset = reader.app.screen.get_widget_and_offset_at(9, 0)[1]
        assert offset == Offset(7, 0)
        selection = Selection.from_offsets(Offset(2, 0), offset)
        assert reader.view.get_selection(selection) == ("語日本語 ", "\n")


async def test_saving_writes_all_lines_to_a_file_that_was_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with reading([*numbered(50), "[/] écrit"]) as reader:
        await reader.press("w", "w")
        await reader.add("more")
        await reader.press("w")
    first, second, third = (
        (tmp_path / name).read_text(encoding="utf-8").splitlines()
        for name in ("job.log", "job-1.log", "job-2.log")
    )
    assert first == second == [*numbered(50), "[/] écrit"]
    assert third == [*first, "more"]
    assert reader.app.told == [
        f"saved to {tmp_path}/{name}" for name in ("job.log", "job-1.log", "job-2.log")
    ]


async def test_a_file_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Reader(LogPane(save_as="missing/job.log"))
    async with app.run_test() as pilot:
        await pilot.press("w")
        assert app.told == ["error missing/job.log: cannot be written (No such file or directory)."]
