"""The table of machines; rows change in place, so that the cursor stays on its machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from tui.views.machine_row import MachineRow

_GAP = 2


@dataclass(frozen=True, slots=True)
class _Column:
    """`width` in cells, 0 for what is left; shown in tables of at least `from_width` cells."""

    key: str
    label: str
    width: int
    from_width: int
    value: Callable[[MachineRow], str]


_COLUMNS = (
    _Column("name", "HOST", 20, 0, attrgetter("name")),
    _Column("state", "STATE", 13, 0, attrgetter("state")),
    _Column("gpus", "GPU", 22, 0, attrgetter("gpus")),
    _Column("disk_free", "DISK FREE", 9, 90, attrgetter("disk_free")),
    _Column("up", "UP", 10, 100, attrgetter("up")),
    _Column("last_contact", "LAST CONTACT", 16, 115, attrgetter("last_contact")),
    _Column("agent_version", "AGENT", 10, 140, attrgetter("agent_version")),
    _Column("running", "RUNNING", 0, 0, attrgetter("running")),
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
        widths = _widths(width) if width else {}
        if widths == self._widths:
            return
        cursor_row = self.cursor_row
        self._widths = widths
        self.clear(columns=True)
        for column in _COLUMNS:
            if column.key in widths:
                self.add_column(column.label, width=widths[column.key] + _GAP, key=column.key)
        for name, row in self._machines.items():
            if widths:
                self.add_row(*self._cells(row).values(), key=name)
        self.move_cursor(row=cursor_row)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Highlighted())

    def _cells(self, row: MachineRow) -> dict[str, Text]:
        return {
            column.key: _cell(column.value(row), self._widths[column.key], column.key)
            for column in _COLUMNS
            if column.key in self._widths
        }


def _widths(available: int) -> dict[str, int]:
    widths = {item.key: item.width for item in _COLUMNS if available >= item.from_width}
    left = available - sum(width + _GAP for width in widths.values())
    return {**widths, "running": max(left, 7)}


def _cell(value: str, width: int, key: str) -> Text:
    style = ""
    if key == "state":
        style = "green" if value == "reachable" else "dim"
        if value.startswith("unreachable"):
            style = "bold yellow"
    if cell_len(value) > width:
        value = set_cell_size(value, max(width - 1, 0)).rstrip() + "…"
    return Text(value, style=style, no_wrap=True)
