"""Asks which conversations shall be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Select, Static

from shared.clean_text import clean_line
from tui.views.conversation_filter import ConversationFilter, FilterChoices


class ConversationFilterScreen(ModalScreen[ConversationFilter | None]):
    """None if it is left as it is."""

    DEFAULT_CSS = """
    ConversationFilterScreen {
        align: center middle;
        & > VerticalGroup {
            width: 68; max-width: 100%; max-height: 100%; overflow-y: auto;
            padding: 1 2; background: $surface; border: round $primary;
        }
        #question { text-style: bold; margin: 0 0 1 0; }
        .choice { margin: 0 0 1 0; }
        .name { width: 10; color: $text-muted; }
        Select { width: 1fr; }
        #answers { align-horizontal: right; }
        Button { margin: 0 0 0 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("ctrl+s", "apply", "Show"),
    ]
    AUTO_FOCUS = "Select, Button"

    def __init__(self, choices: FilterChoices, chosen: ConversationFilter) -> None:
        super().__init__()
        self._choices = choices
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        choices, chosen = self._choices, self._chosen
        with VerticalGroup():
            yield Static(Content("Show only conversations with"), id="question")
            yield from self._choice("persona", choices.personas, chosen.persona)
            yield from self._choice("arc", choices.emotional_arcs, chosen.emotional_arc)
            yield from self._choice("topic", choices.training_topics, chosen.training_topic)
            yield from self._choice("finding", choices.findings, chosen.finding, 1)
            with HorizontalGroup(id="answers"):
                yield Button("Show", "primary", id="apply", compact=True)
                yield Button("Show all", id="all", compact=True)
                yield Button("Back", id="back", compact=True)

    def _choice(
        self, name: str, counts: Mapping[str, int], chosen: str | None, fewest: int = 2
    ) -> ComposeResult:
        """What all conversations share tells none of them apart; a finding is never in all."""
        with HorizontalGroup(classes="choice"):
            yield Static(Content(name), classes="name")
            options = [
                (Content(f"{clean_line(value) or 'none'}  ({count:,})"), value)
                for value, count in counts.items()
            ]
            yield Select(
                options,
                value=chosen if chosen in counts else Select.NULL,
                prompt="any",
                id=name,
                compact=True,
                disabled=len(counts) < fewest,
            )

    @on(Button.Pressed, "#apply")
    def action_apply(self) -> None:
        """What is chosen now."""
        self.dismiss(
            ConversationFilter(
                persona=self._value("persona"),
                emotional_arc=self._value("arc"),
                training_topic=self._value("topic"),
                finding=self._value("finding"),
            )
        )

    @on(Button.Pressed, "#all")
    def _on_all(self) -> None:
        self.dismiss(ConversationFilter())

    @on(Button.Pressed, "#back")
    def action_leave(self) -> None:
        self.dismiss(None)

    def _value(self, id: str) -> str | None:
        value = self.query_exactly_one(f"#{id}", Select).value
        return value if isinstance(value, str) else None
