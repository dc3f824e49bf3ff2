"""The table of model versions, grouped by model; the cursor goes with its version."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from tui.views.model_rows import STATUS_STYLES, ModelRow
from tui.views.overlaid_text import colour_of
from tui.widgets.fitted_columns import GAP, Column, fitted_widths

MOST_ROWS = 500
"""A table lays all its rows out anew when their order changes, and holds the screen up for that."""

_LEAST_NAME = 12

_COLUMNS: tuple[Column[ModelRow], ...] = (
    Column("mark", "", 1, 0, attrgetter("mark")),
    Column("model", "MODEL", 0, 0, attrgetter("model_name")),
    Column("version", "VER", 3, 0, attrgetter("version"), True),
    Column("status", "STATUS", 10, 0, attrgetter("status")),
    Column("loss", "LOSS", 6, 0, attrgetter("loss"), True),
    Column("held_out", "HELD OUT", 8, 0, attrgetter("held_out"), True),
    Column("perplexity", "PPL", 6, 72, attrgetter("perplexity"), True),
    Column("hours", "HOURS", 6, 96, attrgetter("hours"), True),
    Column("cost", "COST", 7, 64, attrgetter("cost"), True),
    Column("size", "SIZE", 8, 106, attrgetter("size"), True),
    Column("uploaded", "UPLOADED", 10, 116, attrgetter("uploaded")),
    Column("base_model", "BASE MODEL", 24, 140, attrgetter("base_model")),
    Column("job", "JOB", 22, 164, attrgetter("job_id")),
)


class ModelTable(DataTable[Text]):
    """Versions in the order in which they are handed over."""

    # A scrollbar that comes later would make all columns narrower, and all rows anew.
    DEFAULT_CSS = """
    ModelTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Job")]

    class Highlighted(Message):
        """The cursor stands on another version, or on none."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._rows: list[ModelRow] = []
        self._widths: dict[str, int] = {}
        self.left_out = 0
        """Versions that would be shown if the table took more than `MOST_ROWS`."""

    @property
    def row_under_cursor(self) -> ModelRow | None:
        """The version that the keys act upon."""
        known = self._widths and self.cursor_row < len(self._rows)
        return self._rows[self.cursor_row] if known else None

    def show(self, rows: Sequence[ModelRow]) -> None:
        """These, in place of those that were there; rows that stay are changed in place."""
        under = self.row_under_cursor
        ids = [row.version_id for row in rows[:MOST_ROWS]]
        is_same_order = ids == [row.version_id for row in self._rows]
        before, self._rows = self._rows, list(rows[:MOST_ROWS])
        self.left_out = max(len(rows) - MOST_ROWS, 0)
        if not is_same_order or not self.row_count:
            self._fill(None if under is None else under.version_id)
            return
        for earlier, row in zip(before, self._rows, strict=True):
            if earlier != row:
                for key, cell in self._cells(row).items():
                    self.update_cell(row.version_id, key, cell)

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        widths = fitted_widths(_COLUMNS, width, least_rest=_LEAST_NAME) if width else {}
        if widths == self._widths:
            return
        under = self.row_under_cursor
        self._widths = widths
        self.clear(columns=True)
        for column in _COLUMNS:
            if column.key in widths:
                heading = Text(column.heading(widths[column.key]))
                self.add_column(heading, width=widths[column.key] + GAP, key=column.key)
        self._fill(None if under is None else under.version_id)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Highlighted())

    def _fill(self, version_id: str | None) -> None:
        scroll_y = self.scroll_y
        self.clear()
        if not self._widths:
            return
        for row in self._rows:
            self.add_row(*self._cells(row).values(), key=row.version_id)
        ids = [row.version_id for row in self._rows]
        if version_id in ids:
            self.move_cursor(row=ids.index(version_id), scroll=False)
            self.scroll_to(y=scroll_y, animate=False, force=True)
        self.post_message(self.Highlighted())

    def _cells(self, row: ModelRow) -> dict[str, Text]:
        return {
            column.key: column.cell(row, self._widths[column.key], _style(column.key, row))
            for column in _COLUMNS
            if column.key in self._widths
        }


def _style(key: str, row: ModelRow) -> str:
    match key:
        case "mark":
            return f"bold {colour_of(row.mark)}".rstrip()
        case "status":
            return STATUS_STYLES.get(row.status, "")
        case "uploaded" if row.uploaded == "refused":
            return "red"
        case "model":
            return "bold"
        case _:
            return ""
