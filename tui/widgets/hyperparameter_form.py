"""The preset and every hyperparameter, made from the model itself, so that none is forgotten."""

from __future__ import annotations

from dataclasses import dataclass, replace

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalGroup
from textual.message import Message
from textual.validation import ValidationResult, Validator
from textual.widgets import Input, Select

from shared.hyperparameters import Hyperparameters, Preset
from tui.views.job_draft import JobDraft, short_range, value_problem
from tui.widgets.safe_input import SafeInput
from tui.widgets.setting_row import SettingRow

_LISTS = ("target_modules",)
"""Fields that need the width of the hint, which would only say that they are lists."""


class HyperparameterForm(VerticalGroup):
    """Changes the draft's preset and hyperparameters; the rest of it is carried along."""

    DEFAULT_CSS = """
    HyperparameterForm SettingRow {
        .label { width: 30; }
        &.-number Input { max-width: 24; }
        &.-number .hint { width: 1fr; }
    }
    """

    @dataclass
    class Changed(Message):
        """The preset or a hyperparameter was changed."""

        draft: JobDraft

    def __init__(self, draft: JobDraft) -> None:
        super().__init__()
        self._draft = draft

    def compose(self) -> ComposeResult:
        choices: Select[Preset] = Select(
            [(preset.value, preset) for preset in Preset],
            value=self._draft.preset,
            allow_blank=False,
            compact=True,
        )
        yield SettingRow("preset", choices, can_reset=True)
        for name in Hyperparameters.model_fields:
            editor = SafeInput(self._draft.hyperparameter(name), validators=_Allowed(name))
            hint = "" if name in _LISTS else short_range(name)
            row = SettingRow(name, editor, hint=hint, can_reset=True)
            yield row.add_class("-number") if hint else row

    def on_mount(self) -> None:
        self._mark()

    def reset(self, field: str) -> None:
        """Put a field back to the preset's value; the preset itself: all of them."""
        if field == "preset":
            self._become(replace(self._draft, hyperparameters={}))
        elif field in Hyperparameters.model_fields:
            self._become(self._draft.without_hyperparameter(field))

    @on(SettingRow.ResetRequested)
    def _on_reset_requested(self, message: SettingRow.ResetRequested) -> None:
        message.stop()
        self.reset(message.field)

    @on(Select.Changed)
    def _on_preset(self, message: Select.Changed) -> None:
        message.stop()
        if isinstance(message.value, Preset) and message.value is not self._draft.preset:
            self._become(replace(self._draft, preset=message.value))

    @on(Input.Changed)
    def _on_typed(self, message: Input.Changed) -> None:
        message.stop()
        field, text = _row_of(message.input).field, message.input.value
        # What was filled in from a preset comes here too, perhaps after yet another preset.
        if text != self._draft.hyperparameter(field):
            self._take(self._draft.with_hyperparameter(field, text))

    def _become(self, draft: JobDraft) -> None:
        """Show values that were not typed here."""
        self._take(draft)
        for row in self._rows():
            text = draft.hyperparameter(row.field)
            if isinstance(row.editor, Input) and row.editor.value != text:
                row.editor.value = text

    def _take(self, draft: JobDraft) -> None:
        self._draft = draft
        self._mark()
        self.post_message(self.Changed(draft))

    def _mark(self) -> None:
        for row in self._rows():
            typed = self._draft.hyperparameters.get(row.field)
            row.show(
                problem="" if typed is None else value_problem(row.field, typed),
                is_changed=self._draft.differs_from_preset(row.field),
            )
        changed = map(self._draft.differs_from_preset, self._draft.hyperparameters)
        self.query_exactly_one("#row-preset", SettingRow).show(is_changed=any(changed))

    def _rows(self) -> list[SettingRow]:
        return [row for row in self.query(SettingRow) if row.field != "preset"]


class _Allowed(Validator):
    """One hyperparameter's own rule."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def validate(self, value: str) -> ValidationResult:
        problem = value_problem(self._name, value)
        return self.failure(problem) if problem else self.success()


def _row_of(editor: Input) -> SettingRow:
    row = editor.parent
    assert isinstance(row, SettingRow)
    return row
