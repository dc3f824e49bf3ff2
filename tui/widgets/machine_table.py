"""The table of machines; rows change in place, so that the cursor stays on its machine."""

from __future__ import annotations

from operator import attrgetter
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from tui.views.machine_row import MachineRow
from tui.widgets.fitted_columns import GAP, Column, fitted_widths

_LEAST_RUNNING = 7


_COLUMNS: tuple[Column[MachineRow], ...] = (
    Column("name", "HOST", 20, 0, attrgetter("name")),
    Column("state", "STATE", 13, 0, attrgetter("state")),
    Column("gpus", "GPU", 22, 0, attrgetter("gpus")),
    Column("disk_free", "DISK FREE", 9, 90, attrgetter("disk_free")),
    Column("up", "UP", 10, 100, attrgetter("up")),
    Column("last_contact", "LAST CONTACT", 16, 115, attrgetter("last_contact")),
    Column("agent_version", "AGENT", 10, 140, attrgetter("agent_version")),
    Column("running", "RUNNING", 0, 0, attrgetter("running")),
)


class MachineTable(DataTable[Text]):
    """Machines in the order in which they came."""

    DEFAULT_CSS = """
    MachineTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Details")]

    class Highlighted(Message):
        """The cursor stands on another machine."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._machines: dict[str, MachineRow] = {}
        self._widths: dict[str, int] = {}

    @property
    def name_under_cursor(self) -> str | None:
        """The key that the row was put under."""
        keys = list(self._machines)
        return keys[self.cursor_row] if self._widths and self.cursor_row < len(keys) else None

    def put(self, name: str, row: MachineRow) -> None:
        """Show a machine, or show it anew."""
        is_new = name not in self._machines
        self._machines[name] = row
        if not self._widths:
            return
        if is_new:
            self.add_row(*self._cells(row).values(), key=name)
            return
        for key, cell in self._cells(row).items():
            if self.get_cell(name, key) != cell:
                self.update_cell(name, key, cell)

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        widths = fitted_widths(_COLUMNS, width, least_rest=_LEAST_RUNNING) if width else {}
        if widths == self._widths:
            return
        cursor_row = self.cursor_row
        self._widths = widths
        self.clear(columns=True)
        for column in _COLUMNS:
            if column.key in widths:
                self.add_column(column.label, width=widths[column.key] + GAP, key=column.key)
        for name, row in self._machines.items():
            if widths:
                self.add_row(*self._cells(row).values(), key=name)
        self.move_cursor(row=cursor_row)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Highlighted())

    def _cells(self, row: MachineRow) -> dict[str, Text]:
        return {
            column.key: column.cell(row, self._widths[column.key], _style(column, row))
            for column in _COLUMNS
            if column.key in self._widths
        }


def _style(column: Column[MachineRow], row: MachineRow) -> str:
    if column.key != "state":
        return ""
    if row.state.startswith("unreachable"):
        return "bold yellow"
    return "green" if row.state == "reachable" else "dim"
