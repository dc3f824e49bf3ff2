"""Asks why a job may be rented for although the month would cost more than its limit."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from shared.clean_text import clean_line
from tui.widgets.safe_input import SafeInput


class OverLimitScreen(ModalScreen[str | None]):
    """Gives the reason; None where nothing shall be rented."""

    CSS = """
    OverLimitScreen {
        align: center middle;
        #dialog {
            width: 72; max-width: 100%; height: auto; max-height: 100%; padding: 1 2;
            background: $surface; border: round $warning;
        }
        #question { text-style: bold; width: 1fr; }
        #detail { color: $text-muted; width: 1fr; margin-bottom: 1; }
        #trouble { color: $text-error; width: 1fr; height: 1; }
        Horizontal { height: auto; }
        Button { margin-right: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back")]
    AUTO_FOCUS = "#reason"

    def __init__(self, detail: str) -> None:
        """`detail` says what the month would cost."""
        super().__init__()
        self._detail = detail

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content("Rent beyond the monthly limit?"), id="question")
            yield Static(Content(clean_line(self._detail)), id="detail")
            yield SafeInput(placeholder="why: kept with the job's costs", id="reason")
            yield Static(id="trouble")
            with Horizontal():
                yield Button("Rent all the same", variant="warning", id="rent")
                yield Button("Back", id="back")

    def action_back(self) -> None:
        """Nothing is rented."""
        self.dismiss(None)

    @on(Button.Pressed)
    def _on_button(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "rent":
            self._confirm()
        else:
            self.dismiss(None)

    @on(Input.Submitted)
    def _on_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._confirm()

    def _confirm(self) -> None:
        reason = clean_line(self.query_one("#reason", Input).value).strip()
        if reason:
            self.dismiss(reason)
        else:
            self.query_one("#trouble", Static).update(Content("Type the reason first."))
