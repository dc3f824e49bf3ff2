"""The table of costs: a day, job, GPU type or tag in each row; the cursor stays on its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.widgets import DataTable

from shared.number_text import usd
from tui.views.costs import CostGroup, Grouping, share_bar
from tui.widgets.fitted_columns import GAP, Column, fitted_widths

MOST_ROWS = 250
"""A table lays all its rows out anew when their order changes: 0.2 ms a row of nine columns
(measured 2026-11)."""

_LEAST_LABEL = 12
_USD_WIDTH = 10
_BAR_WIDTH = 14


@dataclass(frozen=True, slots=True)
class _Row:
    group: CostGroup
    total_usd: float
    highest_usd: float

    @property
    def share(self) -> str:
        return f"{self.group.sum.usd / self.total_usd:.0%}" if self.total_usd > 0 else "–"

    @property
    def bar(self) -> str:
        if self.highest_usd <= 0:
            return ""
        return share_bar(self.group.sum.usd / self.highest_usd, _BAR_WIDTH)

    @property
    def billed(self) -> str:
        total = self.group.sum
        return usd(total.billed_usd, _USD_WIDTH) if total.is_billed else "–"

    @property
    def gpu_hours(self) -> str:
        hours = self.group.sum.gpu_hours
        return f"{hours:,.1f}" if hours > 0 else "–"


_COLUMNS: tuple[Column[_Row], ...] = (
    Column("label", "", 0, 0, lambda row: row.group.label),
    Column("id", "ID", 24, 130, lambda row: row.group.key),
    Column("usd", "COST", _USD_WIDTH, 0, lambda row: usd(row.group.sum.usd, _USD_WIDTH), True),
    Column("bar", "", _BAR_WIDTH, 64, lambda row: row.bar),
    Column("share", "SHARE", 5, 0, lambda row: row.share, True),
    Column("gpu_hours", "GPU H", 8, 0, lambda row: row.gpu_hours, True),
    Column(
        "machines",
        "MACHINES",
        _USD_WIDTH,
        110,
        lambda row: usd(row.group.sum.machine_usd, _USD_WIDTH),
        True,
    ),
    Column(
        "storage",
        "STORAGE",
        _USD_WIDTH,
        110,
        lambda row: usd(row.group.sum.storage_usd, _USD_WIDTH),
        True,
    ),
    Column("billed", "BILLED", _USD_WIDTH, 76, lambda row: row.billed, True),
)


class CostTable(DataTable[Text]):
    """Groups in the order in which they are handed over."""

    # A scrollbar that comes later would make all columns narrower, and all rows anew.
    DEFAULT_CSS = """
    CostTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._rows: list[_Row] = []
        self._by: Grouping = "day"
        self._widths: dict[str, int] = {}
        self._columns_of: Grouping | None = None
        self.left_out = 0
        """Rows that would be shown if the table took more than `MOST_ROWS`."""

    @property
    def key_under_cursor(self) -> str | None:
        """The group's key."""
        return self._rows[self.cursor_row].group.key if self.cursor_row < len(self._rows) else None

    def show(self, groups: Sequence[CostGroup], by: Grouping, total_usd: float) -> None:
        """These, in place of those that were there; shares are of `total_usd`."""
        keys = [row.group.key for row in self._rows]
        at_cursor = self.key_under_cursor if by == self._by else None
        highest = max((group.sum.usd for group in groups), default=0.0)
        self.left_out = max(len(groups) - MOST_ROWS, 0)
        self._rows = [_Row(group, total_usd, highest) for group in groups[:MOST_ROWS]]
        self._by = by
        if self._columns_of != by:
            self._lay_out(at_cursor)
        elif keys == [row.group.key for row in self._rows]:
            self._update()
        else:
            self._fill(at_cursor)

    def on_resize(self, event: events.Resize) -> None:
        if self._fitted() != self._widths:
            self._lay_out(self.key_under_cursor)

    def _fitted(self) -> dict[str, int]:
        width = self.scrollable_content_region.width
        columns = [column for column in _COLUMNS if column.key != "id" or self._by == "job"]
        return fitted_widths(columns, width, least_rest=_LEAST_LABEL) if width else {}

    def _lay_out(self, at_cursor: str | None) -> None:
        """Columns for the width that there is; all rows with them."""
        self._widths = self._fitted()
        self.clear(columns=True)
        if not self._widths:
            self._columns_of = None
            return
        for column in _COLUMNS:
            if column.key in self._widths:
                width = self._widths[column.key]
                name = self._by.upper() if column.key == "label" else column.heading(width)
                self.add_column(Text(name), width=width + GAP, key=column.key)
        self._columns_of = self._by
        self._fill(at_cursor)

    def _fill(self, at_cursor: str | None) -> None:
        scroll_y = self.scroll_y
        self.clear()
        if not self._widths:
            return
        for row in self._rows:
            self.add_row(*self._cells(row).values(), key=row.group.key)
        keys = [row.group.key for row in self._rows]
        if at_cursor in keys:
            self.move_cursor(row=keys.index(at_cursor), scroll=False)
            self.scroll_to(y=scroll_y, animate=False, force=True)

    def _update(self) -> None:
        for row in self._rows:
            for key, cell in self._cells(row).items():
                if self.get_cell(row.group.key, key) != cell:
                    self.update_cell(row.group.key, key, cell)

    def _cells(self, row: _Row) -> dict[str, Text]:
        return {
            column.key: column.cell(
                row, self._widths[column.key], "cyan" if column.key == "bar" else ""
            )
            for column in _COLUMNS
            if column.key in self._widths
        }
