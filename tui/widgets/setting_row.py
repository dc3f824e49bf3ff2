"""One field of a form on one line: a mark, its name, where to type, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.containers import HorizontalGroup
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static


class SettingRow(HorizontalGroup):
    """A field. `✗` stands before one that is wrong, `•` before one that was changed."""

    DEFAULT_CSS = """
    SettingRow {
        height: auto;
        padding: 0 1 0 0;
        .label { width: 16; color: $text-muted; }
        .hint { width: 17; padding: 0 0 0 2; color: $text-muted; text-style: dim; }
        .reset { width: 2; color: $text-accent; visibility: hidden; pointer: pointer; }
        .reset:hover { text-style: reverse; }
        Input, TextArea { width: 1fr; background: $foreground 7%; padding: 0 1 !important; }
        Input:focus, TextArea:focus { background: $primary 25%; }
        Select { width: 1fr; height: 1; background: $foreground 7%; }
        Select > SelectCurrent { background: transparent; padding: 0 1 !important; }
        Select:focus > SelectCurrent { background: $primary 25%; }
        &.-at-hand .label { color: $text; text-style: bold; }
        &.-changed .label { color: $text-accent; }
        &.-changed .reset { visibility: visible; }
        &.-wrong .label, &.-wrong .hint { color: $text-error; text-style: bold; }
    }
    """

    @dataclass
    class ResetRequested(Message):
        """Somebody clicked on the field's arrow back to the preset."""

        field: str

    def __init__(
        self, field: str, editor: Widget, *, hint: str = "", can_reset: bool = False
    ) -> None:
        super().__init__(id=f"row-{field}")
        self.field = field
        self.editor = editor
        self.problem = ""
        self._label = Static(Content(f"  {field}"), classes="label")
        self._mark = " "
        self._hint = hint
        self._can_reset = can_reset

    def compose(self) -> ComposeResult:
        yield self._label
        yield self.editor
        if self._hint:
            yield Static(Content(self._hint), classes="hint")
        if self._can_reset:
            yield _ResetArrow("↺", classes="reset")

    def show(self, *, problem: str = "", is_changed: bool = False) -> None:
        """Mark the field."""
        self.problem = problem
        self.set_class(bool(problem), "-wrong")
        self.set_class(is_changed, "-changed")
        mark = "✗" if problem else "•" if is_changed else " "
        if mark != self._mark:
            self._mark = mark
            self._label.update(Content(f"{mark} {self.field}"), layout=False)

    # A class, since the `focus-within` of a row does not restyle its label (textual 8.2.8).
    def on_descendant_focus(self) -> None:
        self.add_class("-at-hand")

    def on_descendant_blur(self) -> None:
        self.remove_class("-at-hand")

    def on_reset_arrow_clicked(self, message: _ResetArrow.Clicked) -> None:
        message.stop()
        self.post_message(self.ResetRequested(self.field))


class _ResetArrow(Static):
    """`↺`; the key for it is the form's, so it takes no focus."""

    class Clicked(Message, namespace="reset_arrow"):
        """A click on the arrow."""

    def on_mount(self) -> None:
        self.tooltip = "Back to the preset's value (Ctrl+R)"

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Clicked())
