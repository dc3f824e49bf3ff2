"""Asks for one line of text, and takes only one that makes sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from tui.widgets.safe_input import SafeInput

Check = Callable[[str], object]
"""Raises InvalidInput for a text that cannot be taken."""


class TypedLineScreen(ModalScreen[str | None]):
    """Gives what was typed; None where nothing shall be done."""

    CSS = """
    TypedLineScreen {
        align: center middle;
        #dialog {
            width: 70; max-width: 100%; height: auto; max-height: 100%; padding: 1 2;
            background: $surface; border: round $primary;
        }
        #question { text-style: bold; width: 1fr; }
        #detail { color: $text-muted; width: 1fr; margin-bottom: 1; }
        #trouble { color: $text-error; width: 1fr; height: auto; }
        Horizontal { height: auto; margin-top: 1; }
        Button { margin-right: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave as it is")]
    AUTO_FOCUS = "#text"

    def __init__(self, question: str, detail: str, *, value: str, button: str, check: Check):
        super().__init__()
        self._question, self._detail = question, detail
        self._value, self._button = value, button
        self._check = check

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(self._question, id="question", markup=False)
            yield Label(self._detail, id="detail", markup=False)
            yield SafeInput(self._value, id="text")
            yield Static(id="trouble", markup=False)
            with Horizontal():
                yield Button(self._button, variant="primary", id="take")
                yield Button("Leave as it is", id="leave")

    def on_input_changed(self) -> None:
        self.query_one("#trouble", Static).update("")

    def on_input_submitted(self) -> None:
        self._take()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "take":
            self._take()
        else:
            self.dismiss(None)

    def action_leave(self) -> None:
        """Nothing is done."""
        self.dismiss(None)

    def _take(self) -> None:
        typed = self.query_one("#text", Input).value.strip()
        try:
            self._check(typed)
        except InvalidInput as error:
            self.query_one("#trouble", Static).update(clean_line(str(error)))
        else:
            self.dismiss(typed)
