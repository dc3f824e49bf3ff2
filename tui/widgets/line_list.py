"""Names and values in two columns; long values wrap in their own column."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.widgets import Static

from tui.views.job_summary import Line


class LineList(VerticalGroup):
    """Lines that are shown; updated in place while their names stay the same."""

    DEFAULT_CSS = """
    LineList {
        .name { width: 15; color: $text-muted; }
        .value { width: 1fr; color: $text; }
        .dim .value { color: $text-muted; text-style: dim; }
        .changed .name, .changed .value { color: $text-accent; }
        .warning .value { color: $text-warning; }
        .error .value { color: $text-error; text-style: bold; }
    }
    """

    def __init__(self, lines: Sequence[Line], id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows = [_Row(line) for line in lines]

    def compose(self) -> ComposeResult:
        yield from self._rows

    def show(self, lines: Sequence[Line]) -> None:
        """Other values of the same names."""
        for row, line in zip(self._rows, lines, strict=True):
            row.show(line)


class _Row(HorizontalGroup):
    def __init__(self, line: Line) -> None:
        super().__init__(classes=line.tone)
        self._line = line
        self._value = Static(Content(line.value), classes="value")

    def compose(self) -> ComposeResult:
        yield Static(Content(self._line.name), classes="name")
        yield self._value

    def show(self, line: Line) -> None:
        if line == self._line:
            return
        self._line = line
        self.set_classes(line.tone)
        self._value.update(Content(line.value))
