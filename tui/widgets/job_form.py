"""Every field of a new job, with help for the one at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalGroup, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Select, Static, TextArea

from shared.base_models import BUILT_MODELS
from shared.clean_text import clean_line
from shared.job_options import setting_text, usual_option
from tui.services.hosts.names import LOCAL
from tui.services.path_completion import complete_base_model, complete_dataset, complete_known
from tui.views.field_help import field_help
from tui.views.job_draft import (
    CUT_TARGETS,
    OPTIONS_ON_THE_FORM,
    OVER_LONG,
    JobDraft,
    short_range,
)
from tui.widgets.hyperparameter_form import HyperparameterForm
from tui.widgets.safe_input import PathInput, SafeInput, SafeTextArea
from tui.widgets.setting_row import SettingRow

_NO_YES = ("no", "yes")

_Editor = TypeVar("_Editor", bound=Widget)


class JobForm(Vertical):
    """Keeps the draft; tells of every change."""

    DEFAULT_CSS = """
    JobForm {
        #fields { height: 1fr; scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
        .section { height: 1; color: $text-primary; text-style: bold; }
        .later { margin: 1 0 0 0; }
        #row-notes TextArea { height: 2; border: none; }
        #options {
            .label { width: 30; }
            Input { max-width: 24; }
            .hint { width: 1fr; }
        }
        #help { height: 5; padding: 0 1 0 2; border-top: solid $panel; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "reset", "Reset", tooltip="Put the field back to the preset's value"),
    ]

    @dataclass
    class Changed(Message):
        """Something was typed or chosen."""

        draft: JobDraft

    def __init__(self, draft: JobDraft) -> None:
        super().__init__()
        self.draft = draft
        self._last_field = "dataset"
        self._found: Mapping[str, str] = {}

    def compose(self) -> ComposeResult:
        draft = self.draft
        with VerticalScroll(id="fields", can_focus=False):
            yield Static("Job", classes="section")
            yield SettingRow("dataset", PathInput(draft.dataset, complete=complete_dataset))
            yield SettingRow("name", SafeInput(draft.name))
            base_model = PathInput(draft.base_model, complete=self._complete_base_model)
            yield SettingRow("base_model", base_model)
            yield SettingRow("revision", SafeInput(draft.revision))
            yield SettingRow("host", PathInput(draft.host, complete=complete_known))
            yield SettingRow("cut_targets", _choices(CUT_TARGETS, draft.cut_targets))
            yield SettingRow("over_long", _choices(OVER_LONG, draft.over_long))
            yield SettingRow("dry_run", _choices(_NO_YES, _NO_YES[draft.dry_run]))
            yield SettingRow("tags", SafeInput(draft.tags))
            notes = SafeTextArea(draft.notes, compact=True, highlight_cursor_line=False)
            yield SettingRow("notes", notes)
            yield Static("Hyperparameters", classes="section later")
            yield HyperparameterForm(draft)
            yield Static("Options", classes="section later")
            with VerticalGroup(id="options"):
                for name in OPTIONS_ON_THE_FORM:
                    editor = SafeInput(getattr(draft, name))
                    yield SettingRow(name, editor, hint=short_range(name), can_reset=True)
        yield Static(id="help")

    def on_mount(self) -> None:
        self._editor("base_model", PathInput).recent.offer(tuple(BUILT_MODELS))
        self._mark()

    def offer_files(self, paths: Sequence[str]) -> None:
        """Training files that were checked before, last checked first."""
        self._editor("dataset", PathInput).recent.offer(paths)

    def take_dataset(self, path: str) -> None:
        """Put a training file in, as if it had been typed."""
        self._editor("dataset", PathInput).value = path
        self.go_to("dataset")

    def offer_hosts(self, names: Sequence[str]) -> None:
        """Hosts that are known."""
        self._editor("host", PathInput).recent.offer(names)

    def show_found(self, problems: Mapping[str, str]) -> None:
        """What is wrong with the files that fields name; empty as long as nobody has looked."""
        if problems != self._found:
            self._found = problems
            self._mark()

    def go_to(self, field: str) -> None:
        """Focus a field."""
        self._row(field).editor.focus()

    def go_back(self) -> None:
        """Focus the field that was last at hand."""
        self.go_to(self._last_field)

    def action_reset(self) -> None:
        """The focused field goes back to the preset's value."""
        row = self._focused_row()
        if row is not None:
            self._reset(row.field)

    @on(SettingRow.ResetRequested)
    def _on_reset_requested(self, message: SettingRow.ResetRequested) -> None:
        message.stop()
        self._reset(message.field)

    def _reset(self, field: str) -> None:
        if field in OPTIONS_ON_THE_FORM:
            self._editor(field, SafeInput).value = setting_text(usual_option(field))
        else:
            self.query_exactly_one(HyperparameterForm).reset(field)

    @on(HyperparameterForm.Changed)
    def _on_hyperparameters(self, message: HyperparameterForm.Changed) -> None:
        message.stop()
        changed = message.draft
        self._take(
            replace(self.draft, preset=changed.preset, hyperparameters=changed.hyperparameters)
        )

    @on(Input.Changed)
    @on(Select.Changed)
    @on(TextArea.Changed)
    def _on_field(self, message: Input.Changed | Select.Changed | TextArea.Changed) -> None:
        message.stop()
        editor = message.control
        row = editor.parent
        if isinstance(row, SettingRow):
            value: Any = _value_of(editor)
            if row.field == "dry_run":
                value = value == _NO_YES[True]
            self._take(replace(self.draft, **{row.field: value}))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._show_help()

    def _take(self, draft: JobDraft) -> None:
        if draft != self.draft:
            self.draft = draft
            self._mark()
            self.post_message(self.Changed(draft))

    def _mark(self) -> None:
        problems = {**self.draft.problems(), **self._found}
        for field in ("name", "base_model", "host"):
            self._row(field).show(problem=problems.get(field, ""))
        for field in OPTIONS_ON_THE_FORM:
            is_changed = getattr(self.draft, field).strip() != setting_text(usual_option(field))
            self._row(field).show(problem=problems.get(field, ""), is_changed=is_changed)
        self._row("dataset").show(problem=self._found.get("dataset", ""))
        default_name = replace(self.draft, name="").job_name
        self._editor("name", SafeInput).placeholder = default_name
        self._show_help()

    def _show_help(self) -> None:
        row = self._focused_row()
        if row is None:
            return
        self._last_field = row.field
        purpose, allowed = field_help(row.field, self.draft.preset, self.draft.host_name)
        words: list[str | tuple[str, str]] = [purpose, "  ", (allowed, "dim")]
        if row.problem:
            words = [(clean_line(row.problem), "bold $text-error"), "\n", purpose]
        text = Content.assemble((row.field, "bold $text"), "  ", *words)
        self.query_exactly_one("#help", Static).update(text, layout=False)

    def _complete_base_model(self, typed: str, known: Sequence[str]) -> str | None:
        """Only on this machine can directories be looked for. Blocks."""
        complete = complete_base_model if self.draft.host_name == LOCAL else complete_known
        return complete(typed, known)

    def _focused_row(self) -> SettingRow | None:
        focused = self.screen.focused
        if focused is None or self not in focused.ancestors:
            return None
        return next((node for node in focused.ancestors if isinstance(node, SettingRow)), None)

    def _row(self, field: str) -> SettingRow:
        return self.query_exactly_one(f"#row-{field}", SettingRow)

    def _editor(self, field: str, kind: type[_Editor]) -> _Editor:
        editor = self._row(field).editor
        assert isinstance(editor, kind)
        return editor


def _choices(texts: Sequence[str], chosen: str) -> Select[str]:
    value = chosen if chosen in texts else texts[0]
    return Select([(text, text) for text in texts], value=value, allow_blank=False, compact=True)


def _value_of(editor: Widget) -> object:
    if isinstance(editor, TextArea):
        return editor.text
    if isinstance(editor, Input | Select):
        return editor.value
    raise TypeError(f"{editor} is no field")
