"""The table of training files; the cursor stays on its file when rows come and go."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from tui.views.dataset_row import DatasetRow
from tui.widgets.fitted_columns import GAP, Column, fitted_widths

_FINDINGS_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


_COLUMNS: tuple[Column[DatasetRow], ...] = (
    Column("mark", "", 1, 0, lambda row: ""),
    Column("name", "NAME", 0, 0, attrgetter("name")),
    Column("shape", "SHAPE", 23, 136, attrgetter("shape")),
    Column("size", "SIZE", 8, 104, attrgetter("size"), is_number=True),
    Column("conversations", "CONV.", 7, 0, attrgetter("conversations"), is_number=True),
    Column("targets", "TARGETS", 14, 0, attrgetter("targets"), is_number=True),
    Column("tokens", "TOKENS", 11, 94, attrgetter("tokens"), is_number=True),
    Column("findings", "FINDINGS", 14, 0, attrgetter("findings")),
    Column("checked", "CHECKED", 16, 84, attrgetter("checked_or_state")),
    Column("jobs", "JOBS", 4, 0, attrgetter("jobs"), is_number=True),
)
_NARROWEST_NAME = 12


class DatasetTable(DataTable[Text]):
    """Rows in the order in which they are given."""

    DEFAULT_CSS = """
    DatasetTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Open")]

    class Highlighted(Message):
        """The cursor stands on another file."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._rows: dict[str, DatasetRow] = {}
        self._marked: tuple[str, ...] = ()
        self._widths: dict[str, int] = {}

    @property
    def under_cursor(self) -> str | None:
        """The hash of the file there."""
        keys = list(self._rows)
        return keys[self.cursor_row] if self._widths and self.cursor_row < len(keys) else None

    @property
    def marked(self) -> tuple[str, ...]:
        """The hashes of the marked files, in the order in which they were marked."""
        return self._marked

    def show(self, rows: Sequence[DatasetRow], cursor_to: str | None = None) -> None:
        """Replace the rows; the cursor goes to a file, or stays with the one it is on."""
        at = cursor_to or self.under_cursor
        index = self.cursor_row
        self._rows = {row.sha256: row for row in rows}
        self._marked = tuple(key for key in self._marked if key in self._rows)
        self._draw()
        keys = list(self._rows)
        self.move_cursor(row=keys.index(at) if at in keys else min(index, max(len(keys) - 1, 0)))

    def toggle_mark(self) -> None:
        """Mark the file under the cursor, or take its mark away."""
        key = self.under_cursor
        if key is None:
            return
        without = tuple(other for other in self._marked if other != key)
        self._marked = (*self._marked, key) if without == self._marked else without
        self._draw_marks()

    def clear_marks(self) -> None:
        self._marked = ()
        self._draw_marks()

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        widths = fitted_widths(_COLUMNS, width, least_rest=_NARROWEST_NAME) if width else {}
        if widths == self._widths:
            return
        self._widths = widths
        cursor_row = self.cursor_row
        self._draw()
        self.move_cursor(row=cursor_row)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Highlighted())

    def _draw(self) -> None:
        self.clear(columns=True)
        for column in _COLUMNS:
            if column.key in self._widths:
                width = self._widths[column.key]
                self.add_column(column.heading(width), width=width + GAP, key=column.key)
        for key, row in self._rows.items():
            if self._widths:
                self.add_row(*self._cells(row), key=key)

    def _draw_marks(self) -> None:
        for key in self._rows if self._widths else ():
            self.update_cell(key, "mark", self._mark(key))

    def _mark(self, key: str) -> Text:
        return Text("●" if key in self._marked else " ", style="bold cyan")

    def _cells(self, row: DatasetRow) -> list[Text]:
        cells = []
        for column in _COLUMNS:
            if column.key == "mark":
                cells.append(self._mark(row.sha256))
            elif column.key in self._widths:
                cells.append(_cell(column, row, self._widths[column.key]))
        return cells


def _cell(column: Column[DatasetRow], row: DatasetRow, width: int) -> Text:
    if column.key == "findings" and row.finding_parts:
        parts = [Text(text, _FINDINGS_STYLES[severity]) for text, severity in row.finding_parts]
        found = Text(", ").join(parts)
        found.truncate(width, overflow="ellipsis")
        return found
    is_stale = row.state and column.key in ("name", "checked")
    return column.cell(row, width, "yellow" if is_stale else "")
