"""Asks for which base model, and up to which length, a training file shall be checked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from shared.base_models import BUILT_MODELS
from shared.clean_text import clean_line
from shared.errors import InvalidBaseModel
from shared.hyperparameters import Hyperparameters, Preset
from tui.services.dataset_check import CheckSettings
from tui.services.path_completion import complete_base_model
from tui.services.preview import named_base_model
from tui.views.field_help import field_help
from tui.views.job_draft import base_model_problem, short_range, value_problem
from tui.widgets.safe_input import PathInput, SafeInput
from tui.widgets.setting_row import SettingRow

_LENGTH = "max_seq_length"


class CheckSettingsScreen(ModalScreen[CheckSettings | None]):
    """None if it shall not be checked."""

    DEFAULT_CSS = """
    CheckSettingsScreen {
        align: center middle;
        & > VerticalGroup {
            width: 76; max-width: 100%; max-height: 100%; overflow-y: auto;
            padding: 1 2; background: $surface; border: round $primary;
        }
        #question { text-style: bold; margin: 0 0 1 0; }
        #help { margin: 1 0 0 0; color: $text-muted; }
        #help.-wrong { color: $text-error; text-style: bold; }
        #answers { margin: 1 0 0 0; align-horizontal: right; }
        Button { margin: 0 0 0 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("ctrl+s", "apply", "Check"),
    ]
    AUTO_FOCUS = "#row-base_model Input"

    def __init__(self, file_name: str, last: CheckSettings) -> None:
        super().__init__()
        self._file_name = file_name
        self._last = last
        base_model = PathInput(last.base_model, complete=complete_base_model)
        base_model.recent.offer(tuple(BUILT_MODELS))
        length = SafeInput(str(last.max_seq_length))
        self._rows = {
            "base_model": SettingRow("base_model", base_model),
            _LENGTH: SettingRow(_LENGTH, length, hint=short_range(_LENGTH)),
        }

    def compose(self) -> ComposeResult:
        with VerticalGroup():
            yield Static(Content(f"Check “{clean_line(self._file_name)}” for"), id="question")
            yield from self._rows.values()
            yield Static(id="help", markup=False)
            with HorizontalGroup(id="answers"):
                yield Button("OK", "primary", id="apply", compact=True)
                yield Button("Back", id="back", compact=True)

    def on_mount(self) -> None:
        self._show({})

    @on(Input.Changed)
    def _on_typed(self) -> None:
        self._show({})

    @on(Input.Submitted)
    @on(Button.Pressed, "#apply")
    def action_apply(self) -> None:
        """Check with what was typed, or say what is wrong with it."""
        typed = {field: self._typed(field) for field in self._rows}
        problems = {
            "base_model": base_model_problem(typed["base_model"]),
            _LENGTH: value_problem(_LENGTH, typed[_LENGTH]),
        }
        self._show(problems)
        if not any(problems.values()):
            values = Hyperparameters.from_values({_LENGTH: typed[_LENGTH]})
            self._take(typed["base_model"], values.max_seq_length)

    @work(exclusive=True)
    async def _take(self, typed: str, max_seq_length: int) -> None:
        """A directory is looked for in a thread: a slow disk may hold it."""
        try:
            base_model = await asyncio.to_thread(named_base_model, typed)
        except InvalidBaseModel as error:
            self._show({"base_model": str(error).removeprefix(f"{typed.strip()}: ")})
            return
        if self.is_current:  # Nobody has left meanwhile.
            self.dismiss(replace(self._last, base_model=base_model, max_seq_length=max_seq_length))

    @on(Button.Pressed, "#back")
    def action_leave(self) -> None:
        self.dismiss(None)

    def _typed(self, field: str) -> str:
        editor = self._rows[field].editor
        assert isinstance(editor, Input)
        return editor.value

    def _show(self, problems: dict[str, str]) -> None:
        """Mark the fields that are wrong; the first one is told, and focused."""
        for field, row in self._rows.items():
            row.show(problem=problems.get(field, ""))
        wrong = [row for row in self._rows.values() if row.problem]
        about = field_help("base_model", Preset.BALANCED)[0]
        if wrong:
            about = clean_line(f"{wrong[0].field}: {wrong[0].problem}")
            wrong[0].editor.focus()
        self.query_exactly_one("#help", Static).set_class(bool(wrong), "-wrong").update(about)
