"""The last look before a start: everything that will be started, and two ways on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from tui.views.job_summary import Line
from tui.widgets.line_list import LineList


class ReviewScreen(ModalScreen[bool]):
    """True: start it."""

    AUTO_FOCUS = "#start"
    DEFAULT_CSS = """
    ReviewScreen {
        align: center middle;
        & > Vertical {
            width: 96; max-width: 100%; height: 100%; max-height: 46;
            padding: 0 1; background: $surface; border: round $primary;
        }
        #title { height: 2; text-style: bold; }
        VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
        LineList .name { width: 30; }
        #buttons { margin: 1 0 0 0; }
        Button { margin: 0 2 0 0; }
        #keys { width: 1fr; height: 1; color: $text-muted; text-wrap: nowrap; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("left,right", "app.focus_next", "Other button", show=False),
        Binding("down", "scroll(1)", "Down", show=False),
        Binding("up", "scroll(-1)", "Up", show=False),
        Binding("pagedown", "scroll(10)", "Page down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", show=False),
    ]

    def __init__(self, lines: Sequence[Line], question: str = "Start this job?") -> None:
        super().__init__()
        self._lines = lines
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(Content(self._question), id="title")
            with VerticalScroll(can_focus=False):
                yield LineList(self._lines)
            with HorizontalGroup(id="buttons"):
                yield Button("Start", "primary", id="start", compact=True)
                yield Button("Back", id="back", compact=True)
                yield Static("↑↓ scroll   Enter start   Esc back", id="keys")

    def action_scroll(self, lines: int) -> None:
        self.query_exactly_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_back(self) -> None:
        self.dismiss(False)

    @on(Button.Pressed)
    def _on_button(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id == "start")
