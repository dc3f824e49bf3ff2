"""The table of the web application's training files: one page, the cursor on one of them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from tui.views.remote_file_row import RemoteFileRow
from tui.widgets.fitted_columns import GAP, Column, fitted_widths

_COLUMNS: tuple[Column[RemoteFileRow], ...] = (
    Column("name", "NAME", 0, 0, attrgetter("name")),
    Column("conversations", "CONV.", 7, 48, attrgetter("conversations"), is_number=True),
    Column("pairs", "PAIRS", 8, 36, attrgetter("pairs"), is_number=True),
    Column("size", "SIZE", 8, 60, attrgetter("size"), is_number=True),
    Column("status", "STATUS", 10, 96, attrgetter("status")),
    Column("created", "CREATED", 16, 76, attrgetter("created")),
    Column("here", "HERE", 7, 56, attrgetter("here")),
)
_NARROWEST_NAME = 12
_HERE_STYLES = {"changed": "yellow"}


class RemoteFileTable(DataTable[Text]):
    """Rows in the order in which they are given."""

    DEFAULT_CSS = """
    RemoteFileTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Fetch")]

    class Highlighted(Message):
        """The cursor stands on another file."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._rows: dict[str, RemoteFileRow] = {}
        self._widths: dict[str, int] = {}

    @property
    def under_cursor(self) -> str | None:
        """The id of the file there."""
        keys = list(self._rows)
        return keys[self.cursor_row] if self._widths and self.cursor_row < len(keys) else None

    def show(self, rows: Sequence[RemoteFileRow]) -> None:
        """Replace the rows; the cursor stays with its file, or goes to the first one."""
        at = self.under_cursor
        self._rows = {row.id: row for row in rows}
        self._draw()
        keys = list(self._rows)
        self.move_cursor(row=keys.index(at) if at in keys else 0)

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
        shown = [column for column in _COLUMNS if column.key in self._widths]
        for column in shown:
            width = self._widths[column.key]
            self.add_column(column.heading(width), width=width + GAP, key=column.key)
        for key, row in self._rows.items() if shown else ():
            cells = [
                column.cell(row, self._widths[column.key], _style(column, row)) for column in shown
            ]
            self.add_row(*cells, key=key)


def _style(column: Column[RemoteFileRow], row: RemoteFileRow) -> str:
    return _HERE_STYLES.get(row.here, "") if column.key in ("name", "here") else ""
