"""What is being done about a host, while somebody waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from shared.clean_text import clean_line
from tui.screens.withdrawable import WithdrawableScreen


class StepsScreen(WithdrawableScreen[None]):
    """Stays until it is withdrawn: what is under way cannot be stopped halfway."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "stay", "Back", show=False)]
    DEFAULT_CSS = """
    StepsScreen #detail { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    @dataclass
    class Stepped(Message):
        """Another step has begun, or goes on."""

        step: str

    def __init__(self, title: str, under_way: str = "The job is being started.") -> None:
        """`under_way` is told to whoever wants to leave."""
        super().__init__()
        self._title = clean_line(title)
        self._under_way = under_way

    def compose(self) -> ComposeResult:
        with VerticalGroup():
            yield Static(Content(self._title), id="question")
            yield Static("…", id="detail")

    def tell(self, step: str) -> None:
        """Show this step."""
        self.post_message(self.Stepped(step))

    def action_stay(self) -> None:
        """Say why nothing happens."""
        self.notify(self._under_way, markup=False)

    @on(Stepped)
    def _on_stepped(self, message: Stepped) -> None:
        step = self.query_exactly_one("#detail", Static)
        step.update(Content(clean_line(message.step)), layout=False)
