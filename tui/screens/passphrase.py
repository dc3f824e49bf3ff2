"""Asks for the passphrase of a key; what is typed is drawn, copied and told nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Static

from shared.clean_text import clean_line
from tui.screens.withdrawable import WithdrawableScreen
from tui.widgets.safe_input import SafeInput

_DETAIL = "It unlocks the key here, until the console is closed; it is neither kept nor sent."


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A wrapper, since what a screen gives stands in the repr of a message of Textual's."""

    value: str = field(repr=False)


class SecretInput(SafeInput):
    """A line of which no message has the text, and which cannot be copied."""

    class Entered(Message):
        """Enter was pressed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(password=True, id=id)

    def post_message(self, message: Message) -> bool:
        """Keep back the messages of an `Input` that have its value."""
        if isinstance(message, Input.Submitted):
            return super().post_message(self.Entered())
        if isinstance(message, Input.Changed | Input.Blurred):
            return False
        return super().post_message(message)

    def action_copy(self) -> None:
        """The clipboard is not the place for it."""

    def action_cut(self) -> None:
        """Nor this way."""


class PassphraseScreen(WithdrawableScreen[Passphrase]):
    """None: the person does not want to say."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "Give up")]
    AUTO_FOCUS = "#passphrase"
    DEFAULT_CSS = """
    PassphraseScreen SecretInput { margin: 1 0 0 0; background: $foreground 7%; }
    """

    def __init__(self, key_path: str) -> None:
        super().__init__()
        self._key_path = key_path

    def compose(self) -> ComposeResult:
        with VerticalGroup():
            question = f"Passphrase of {clean_line(self._key_path)}"
            yield Static(Content(question), id="question")
            yield Static(Content(_DETAIL), id="detail")
            yield SecretInput(id="passphrase")
            with HorizontalGroup():
                yield Button("Unlock", "primary", id="unlock", compact=True)
                yield Button("Give up", id="give-up", compact=True)

    def action_give_up(self) -> None:
        """The key stays locked."""
        self.dismiss(None)

    @on(SecretInput.Entered)
    def _on_entered(self) -> None:
        typed = self.query_exactly_one(SecretInput).value
        self.dismiss(Passphrase(typed) if typed else None)

    @on(Button.Pressed)
    def _on_button(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "unlock":
            self._on_entered()
        else:
            self.dismiss(None)
