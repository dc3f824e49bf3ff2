"""The table that compares jobs; its letters are the legend of the curves below it."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from tui.views.comparison import ComparisonRow
from tui.views.overlaid_text import colour_of
from tui.widgets.fitted_columns import GAP, Column, fitted_widths

_LEAST_VARIES = 14

_COLUMNS: tuple[Column[ComparisonRow], ...] = (
    Column("mark", "", 2, 0, attrgetter("mark")),
    Column("varies", "VARIES", 0, 0, attrgetter("varies")),
    Column("status", "STATUS", 12, 0, attrgetter("status")),
    Column("step", "STEP", 7, 0, attrgetter("step"), True),
    Column("loss", "LOSS", 7, 0, attrgetter("loss"), True),
    Column("held_out", "HELD OUT", 8, 0, attrgetter("held_out"), True),
    Column("before", "BEFORE", 7, 100, attrgetter("before"), True),
    Column("perplexity", "PPL", 7, 100, attrgetter("perplexity"), True),
    Column("tokens_per_s", "TOK/S", 7, 90, attrgetter("tokens_per_s"), True),
    Column("hours", "HOURS", 6, 100, attrgetter("hours"), True),
    Column("cost", "COST", 7, 0, attrgetter("cost"), True),
)


class ComparisonTable(DataTable[Text]):
    """Jobs, the best first; the cursor goes with its job."""

    DEFAULT_CSS = """
    ComparisonTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Open")]

    class Highlighted(Message):
        """The cursor stands on another job."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._rows: list[ComparisonRow] = []
        self._widths: dict[str, int] = {}

    @property
    def row_under_cursor(self) -> ComparisonRow | None:
        """The job that the keys act upon."""
        known = self._widths and self.cursor_row < len(self._rows)
        return self._rows[self.cursor_row] if known else None

    def show(self, rows: Sequence[ComparisonRow]) -> None:
        """These jobs in this order; rows that stay in their place are changed in place."""
        ids = [row.job_id for row in rows]
        is_same_order = ids == [row.job_id for row in self._rows]
        under = self.row_under_cursor
        before, self._rows = self._rows, list(rows)
        if not is_same_order or not self.row_count:
            self._fill(None if under is None else under.job_id)
            return
        for earlier, row in zip(before, rows, strict=True):
            if earlier != row:
                for key, cell in self._cells(row).items():
                    self.update_cell(row.job_id, key, cell)

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        widths = fitted_widths(_COLUMNS, width, least_rest=_LEAST_VARIES) if width else {}
        if widths == self._widths:
            return
        under = self.row_under_cursor
        self._widths = widths
        self.clear(columns=True)
        for column in _COLUMNS:
            if column.key in widths:
                heading = Text(column.heading(widths[column.key]))
                self.add_column(heading, width=widths[column.key] + GAP, key=column.key)
        self._fill(None if under is None else under.job_id)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Highlighted())

    def _fill(self, job_id: str | None) -> None:
        self.clear()
        if not self._widths:
            return
        for row in self._rows:
            self.add_row(*self._cells(row).values(), key=row.job_id)
        ids = [row.job_id for row in self._rows]
        if job_id in ids:
            self.move_cursor(row=ids.index(job_id))

    def _cells(self, row: ComparisonRow) -> dict[str, Text]:
        return {
            column.key: column.cell(row, self._widths[column.key], _style(column.key, row))
            for column in _COLUMNS
            if column.key in self._widths
        }


def _style(key: str, row: ComparisonRow) -> str:
    if key == "mark":
        return f"bold {colour_of(row.mark)}".rstrip()
    return "red" if key == "status" and row.why else ""
