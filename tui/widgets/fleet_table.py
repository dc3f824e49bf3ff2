"""The table of rented machines, orphans first; the cursor stays on its machine."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from tui.views.fleet_row import FleetRow
from tui.widgets.fitted_columns import GAP, Column, fitted_widths

_LEAST_JOB = 12

_COLUMNS: tuple[Column[FleetRow], ...] = (
    Column("state", "STATE", 16, 0, attrgetter("state")),
    Column("label", "MACHINE", 24, 0, attrgetter("label")),
    Column("price", "$/H", 6, 0, attrgetter("price"), is_number=True),
    Column("cost", "COST", 8, 0, attrgetter("cost"), is_number=True),
    Column("since", "SINCE", 16, 110, attrgetter("since")),
    Column("name", "NAME", 36, 150, attrgetter("name")),
    Column("job", "JOB", 0, 0, attrgetter("job")),
)


class FleetTable(DataTable[Text]):
    """Rented machines in the order in which they are handed over."""

    DEFAULT_CSS = """
    FleetTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "screen.end_machine", "End it", tooltip="End the machine under the cursor"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._rows: list[FleetRow] = []
        self._widths: dict[str, int] = {}

    @property
    def name_under_cursor(self) -> str | None:
        """The machine's name."""
        return self._rows[self.cursor_row].name if self.cursor_row < len(self._rows) else None

    def show(self, rows: Sequence[FleetRow]) -> None:
        """These, in place of those that were there."""
        names = [row.name for row in self._rows]
        at_cursor = self.name_under_cursor
        self._rows = list(rows)
        if names == [row.name for row in rows] and self._widths:
            self._update()
        else:
            self._fill(at_cursor)

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        widths = fitted_widths(_COLUMNS, width, least_rest=_LEAST_JOB) if width else {}
        if widths == self._widths:
            return
        at_cursor = self.name_under_cursor
        self._widths = widths
        self.clear(columns=True)
        for column in _COLUMNS:
            if column.key in widths:
                heading = Text(column.heading(widths[column.key]))
                self.add_column(heading, width=widths[column.key] + GAP, key=column.key)
        self._fill(at_cursor)

    def _fill(self, at_cursor: str | None) -> None:
        self.clear()
        if not self._widths:
            return
        for row in self._rows:
            self.add_row(*self._cells(row).values(), key=row.name)
        names = [row.name for row in self._rows]
        if at_cursor in names:
            self.move_cursor(row=names.index(at_cursor))

    def _update(self) -> None:
        for row in self._rows:
            for key, cell in self._cells(row).items():
                if self.get_cell(row.name, key) != cell:
                    self.update_cell(row.name, key, cell)

    def _cells(self, row: FleetRow) -> dict[str, Text]:
        style = "bold red" if row.is_urgent else ""
        return {
            column.key: column.cell(row, self._widths[column.key], style)
            for column in _COLUMNS
            if column.key in self._widths
        }
