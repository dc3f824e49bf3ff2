"""Puts a rented job's question to the user, with the answers that the controller understands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from shared.clean_text import clean, clean_line
from tui.views.rental_answers import Answer
from tui.widgets.safe_input import SafeInput


class AnswerScreen(ModalScreen[str | None]):
    """Gives the answer's text; None where the question stays open."""

    DEFAULT_CSS = """
    AnswerScreen {
        align: center middle;
        & > VerticalGroup {
            width: 76; max-width: 100%; max-height: 100%; overflow-y: auto;
            padding: 1 2; background: $surface; border: round $warning;
        }
        #job { color: $text-muted; }
        #question { margin: 1 0 0 0; text-style: bold; }
        #detail { margin: 1 0 0 0; color: $text-muted; }
        #typed { margin: 1 0 0 0; }
        OptionList {
            height: auto; max-height: 16; margin: 1 0 0 0; padding: 0; border: none;
            background: transparent;
        }
        OptionList:focus { border: none; }
        #keys { margin: 1 0 0 0; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "later", "Later")]

    def __init__(
        self,
        name: str,
        question: str,
        answers: Sequence[Answer],
        detail: str = "",
        typed: str = "",
    ) -> None:
        """`typed` is an example of what can be typed as an answer; "" where nothing can."""
        super().__init__()
        self._typed = typed
        self._job_name = name
        self._question = question
        self._answers = answers
        self._detail = detail

    def compose(self) -> ComposeResult:
        with VerticalGroup():
            yield Static(Content(clean_line(self._job_name)), id="job")
            yield Static(Content(clean(self._question)), id="question")
            if self._detail:
                yield Static(Content(clean(self._detail)), id="detail")
            if self._typed:
                yield SafeInput(placeholder=self._typed, id="typed")
            yield OptionList(*map(_option, self._answers))
            yield Static(Content("Enter answers   Esc later: the job waits"), id="keys")

    def action_later(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    def _on_typed(self, event: Input.Submitted) -> None:
        event.stop()
        if answer := clean_line(event.value):
            self.dismiss(answer)

    @on(OptionList.OptionSelected)
    def _on_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(self._answers[event.option_index].text)


def _option(answer: Answer) -> Option:
    return Option(Content.assemble((answer.text, "bold"), "\n", (clean_line(answer.effect), "dim")))
