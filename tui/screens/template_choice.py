"""Chooses a template, or says that the form is to be kept as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from shared.clean_text import clean_line
from shared.errors import InvalidInput
from shared.job_template import JobTemplate, read_template
from shared.store.templates import StoredTemplate

SAVE = "save"
"""What is given where the form is to be kept."""

_LONGEST_SUMMARY = 160


class TemplateChoiceScreen(ModalScreen[JobTemplate | str | None]):
    """Gives a template, `SAVE`, or None where nothing shall be done."""

    DEFAULT_CSS = """
    TemplateChoiceScreen {
        align: center middle;
        & > VerticalGroup {
            width: 88; max-width: 100%; max-height: 100%;
            overflow-y: auto; padding: 1 2; background: $surface; border: round $primary;
        }
        #question { text-style: bold; }
        OptionList {
            height: auto; max-height: 24; margin: 1 0 0 0; padding: 0; border: none;
            background: transparent;
        }
        OptionList:focus { border: none; }
        #keys { margin: 1 0 0 0; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("s", "save", "Save the form"),
    ]

    def __init__(self, templates: Sequence[StoredTemplate]) -> None:
        super().__init__()
        self._read = [(stored.name, _read(stored)) for stored in templates]

    def compose(self) -> ComposeResult:
        options = [_option(name, found) for name, found in self._read]
        save = Option(Content.assemble(("Save this form as a template …", "bold")))
        with VerticalGroup():
            yield Static(Content("Begin with a template"), id="question")
            yield OptionList(*options, save)
            yield Static(
                Content("Enter takes it; file and name on the form stay   s save   Esc back"),
                id="keys",
            )

    def action_back(self) -> None:
        """Nothing is done."""
        self.dismiss(None)

    def action_save(self) -> None:
        """Keep the form."""
        self.dismiss(SAVE)

    @on(OptionList.OptionSelected)
    def _on_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_index == len(self._read):
            self.dismiss(SAVE)
            return
        _, found = self._read[event.option_index]
        if isinstance(found, JobTemplate):
            self.dismiss(found)


def _read(stored: StoredTemplate) -> JobTemplate | str:
    """The template, or why it cannot be used."""
    try:
        return read_template(stored.name, stored.settings)
    except InvalidInput as error:
        return clean_line(str(error))


def _option(name: str, found: JobTemplate | str) -> Option:
    if isinstance(found, str):
        text = Content.assemble((clean_line(name), "bold"), "\n", (found, "dim"))
        return Option(text, disabled=True)
    words = clean_line(", ".join(f"{name} {value}" for name, value in found.lines()))
    summary = words[:_LONGEST_SUMMARY] + ("…" if len(words) > _LONGEST_SUMMARY else "")
    return Option(Content.assemble((clean_line(name), "bold"), "\n", (summary, "dim")))
