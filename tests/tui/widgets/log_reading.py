"""A `LogPane` in an app of its own, and what a reader sees and does there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Footer, Input, Static

from tui.widgets.line_view import LineView
from tui.widgets.log_pane import LogPane


class Reader(App[None]):
    """A pane in an app of its own, which has uses for two of its keys."""

    BINDINGS = [Binding("escape", "note('escape')"), Binding("N", "note('N')")]  # noqa: RUF012

    def __init__(self, pane: LogPane) -> None:
        super().__init__()
        self.pane = pane
        self.notes: list[str] = []
        self.told: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Footer()

    def on_mount(self) -> None:
        self.pane.focus()

    def action_note(self, note: str) -> None:
        self.notes.append(note)

    def notify(self, message: str, **options: Any) -> None:
        assert options.pop("markup") is False
        self.told.append(" ".join([*options.values(), message]))


class Reading:
    """What a reader sees and does."""

    def __init__(self, app: Reader, pilot: Pilot[None]) -> None:
        self.app, self.pane, self.pilot = app, app.pane, pilot
        self.view = app.pane.query_one(LineView)

    async def add(self, *lines: str) -> None:
        self.pane.add_lines(lines)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.wait_for_animation()
        await self.pilot.pause()

    async def scroll(self, kind: type[events.MouseEvent]) -> None:
        self.view.post_message(kind(self.view, 1, 1, 0, 0, 0, False, False, False))
        await self.pilot.wait_for_animation()
        await self.pilot.pause()

    @property
    def rows(self) -> list[str]:
        height = self.view.scrollable_size.height
        return [self.view.render_line(y).text.rstrip() for y in range(height)]

    @property
    def status(self) -> str:
        return str(self.pane.query_one("#log-status", Static).content)

    @property
    def input(self) -> Input:
        return self.pane.query_one(Input)

    def highlighted(self, name: str = "match") -> list[tuple[str, int]]:
        """(text, its first cell in sight) of everything in the view that looks like that."""
        color = self.view.get_component_rich_style(f"line-view--{name}").bgcolor
        found = []
        for y in range(self.view.scrollable_size.height):
            cell = 0
            for segment in self.view.render_line(y):
                if segment.style is not None and segment.style.bgcolor == color:
                    found.append((segment.text, cell))
                cell += segment.cell_length
        return found


@asynccontextmanager
async def reading(
    lines: Iterable[str] = (), size: tuple[int, int] = (60, 14), **options: Any
) -> AsyncIterator[Reading]:
    """A pane with 12 rows for lines, unless told otherwise."""
    app = Reader(LogPane(save_as="job.log", **options))
    async with app.run_test(size=size) as pilot:
        reader = Reading(app, pilot)
        await reader.add(*lines)
        yield reader


def numbered(count: int, begin: int = 0) -> list[str]:
    return [f"line {number}" for number in range(begin, begin + count)]
