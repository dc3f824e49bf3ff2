"""A question with two answers, for every screen that needs one."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from shared.clean_text import clean, clean_line


class ConfirmScreen(ModalScreen[bool]):
    """True for yes. Where a yes cannot be undone (`danger`), Enter alone says no."""

    DEFAULT_CSS = """
    ConfirmScreen {
        align: center middle;
        & > VerticalGroup {
            width: 64; max-width: 100%; max-height: 100%; overflow-y: auto;
            padding: 1 2; background: $surface; border: round $primary;
        }
        &.-danger > VerticalGroup { border: round $error; }
        #question { text-style: bold; }
        #detail { margin: 1 0 0 0; color: $text-muted; }
        HorizontalGroup { margin: 1 0 0 0; align-horizontal: right; }
        Button { margin: 0 0 0 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left,right,up,down", "app.focus_next", "Other answer", show=False),
    ]

    def __init__(
        self,
        question: str,
        detail: str = "",
        *,
        yes: str = "Yes",
        no: str = "No",
        danger: bool = False,
    ) -> None:
        super().__init__(classes="-danger" if danger else "")
        self._question = question
        self._detail = detail
        self._labels = (yes, no)
        self._is_danger = danger

    def compose(self) -> ComposeResult:
        yes, no = (Content(clean_line(label)) for label in self._labels)
        with VerticalGroup():
            yield Static(Content(clean(self._question)), id="question")
            if self._detail:
                yield Static(Content(clean(self._detail)), id="detail")
            with HorizontalGroup():
                yield Button(yes, "error" if self._is_danger else "primary", id="yes", compact=True)
                yield Button(no, id="no", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no" if self._is_danger else "#yes").focus()

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)

    @on(Button.Pressed)
    def _on_button(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id == "yes")
