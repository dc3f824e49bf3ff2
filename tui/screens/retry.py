"""Asks whether an ended job shall be started again: as it was, or as its figures suggest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from shared.advice.suggestion import Suggestion
from shared.clean_text import clean_line
from tui.views.suggestion_lines import changes_in_words

if TYPE_CHECKING:
    from shared.store.stored import StoredJob

_SAME = "A new job with the same settings and the same training file."


class RetryScreen(ModalScreen[Suggestion | None]):
    """Gives what was chosen; None where nothing shall be started."""

    AS_IT_WAS = Suggestion("The same again.")
    DEFAULT_CSS = """
    RetryScreen {
        align: center middle;
        & > VerticalGroup {
            width: 88; max-width: 100%; max-height: 100%;
            overflow-y: auto; padding: 1 2; background: $surface; border: round $primary;
        }
        #question { text-style: bold; }
        .note { margin: 1 0 0 0; color: $text-muted; }
        OptionList {
            height: auto; max-height: 24; margin: 1 0 0 0; padding: 0; border: none;
            background: transparent;
        }
        OptionList:focus { border: none; }
        #keys { margin: 1 0 0 0; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "back", "Back"),
        Binding("y", "as_it_was", "As it was"),
    ]

    def __init__(self, job: StoredJob, suggestions: Sequence[Suggestion]) -> None:
        super().__init__()
        self._job = job
        self._choices = [item for item in suggestions if item.can_be_launched]
        self._notes = [item for item in suggestions if not item.can_be_launched]

    def compose(self) -> ComposeResult:
        options = [self._option(suggestion) for suggestion in self._choices]
        same = Content.assemble(("Start it as it was", "bold"), "\n", (_SAME, "dim"))
        name = clean_line(self._job.spec.name)
        form = "Enter opens the form with the change   y starts it as it was   Esc back"
        keys = form if self._choices else "Enter starts it   Esc back"
        with VerticalGroup():
            yield Static(Content(f"Start “{name}” again?"), id="question")
            yield OptionList(*options, Option(same))
            for note in self._notes:
                yield Static(Content(clean_line(note.reason)), classes="note")
            yield Static(Content(keys), id="keys")

    def _option(self, suggestion: Suggestion) -> Option:
        change = changes_in_words(self._job.spec, suggestion)
        reason = (clean_line(suggestion.reason), "dim")
        return Option(Content.assemble((change, "bold"), "\n", reason))

    def action_back(self) -> None:
        self.dismiss(None)

    def action_as_it_was(self) -> None:
        self.dismiss(self.AS_IT_WAS)

    @on(OptionList.OptionSelected)
    def _on_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        index = event.option_index
        is_same = index == len(self._choices)
        self.dismiss(self.AS_IT_WAS if is_same else self._choices[index])
