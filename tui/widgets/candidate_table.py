"""The machines that may be rented, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from tui.services.rent_options import LeftOut, RentOption
from tui.views.rent_choice import RentChoice, key_of
from tui.views.rent_review import candidate_row
from tui.widgets.fitted_columns import GAP, Column, fitted_widths

_LEAST_MEMORY = 9
_MOST_LEFT_OUT = 50


@dataclass(frozen=True, slots=True)
class _Row:
    """`order` is the place among those that are tried; "–" for one that is switched off."""

    key: str
    order: str
    option: RentOption
    reason: str = ""
    """Why it is left out."""


_COLUMNS: tuple[Column[_Row], ...] = (
    Column("order", "#", 2, 0, lambda row: row.order, is_number=True),
    Column("gpu", "GPU", 13, 0, lambda row: candidate_row(row.option).gpu),
    Column("cloud", "CLOUD", 9, 0, lambda row: candidate_row(row.option).cloud),
    Column("where", "WHERE", 9, 0, lambda row: candidate_row(row.option).where),
    Column("price", "$/H", 5, 0, lambda row: candidate_row(row.option).usd_per_hour, True),
    Column("stock", "STOCK", 6, 0, lambda row: candidate_row(row.option).stock),
    Column("cost", "COST", 13, 85, lambda row: candidate_row(row.option).cost, True),
    Column("memory", "MEMORY", 0, 0, lambda row: row.reason or candidate_row(row.option).memory),
)


class CandidateTable(DataTable[Text]):
    """Those that are tried, then those that are left out; the cursor goes with its machine."""

    DEFAULT_CSS = """
    CandidateTable { overflow-y: scroll; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K,shift+up", "move(-1)", "Earlier", key_display="K"),
        Binding("J,shift+down", "move(1)", "Later", key_display="J"),
        Binding("space", "switch", "On/off", tooltip="Try this machine, or leave it out"),
        Binding("enter", "switch", show=False),
        Binding("r", "screen.refresh_offers", "Look again", tooltip="Prices and stock as of now"),
    ]

    @dataclass
    class Changed(Message):
        """The order was changed, or what is tried."""

        choice: RentChoice

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True, cell_padding=0)
        self._choice: RentChoice | None = None
        self._rows: list[_Row] = []
        self._widths: dict[str, int] = {}

    def show(self, choice: RentChoice | None) -> None:
        """The machines; None where nothing is known."""
        key = self._key_under_cursor
        self._choice = choice
        self._rows = [] if choice is None else _rows(choice)
        self._fill(key)

    @property
    def _key_under_cursor(self) -> str | None:
        return self._rows[self.cursor_row].key if self.cursor_row < len(self._rows) else None

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        widths = fitted_widths(_COLUMNS, width, least_rest=_LEAST_MEMORY) if width else {}
        if widths == self._widths:
            return
        key = self._key_under_cursor
        self._widths = widths
        self.clear(columns=True)
        for column in _COLUMNS:
            if column.key in widths:
                heading = Text(column.heading(widths[column.key]))
                self.add_column(heading, width=widths[column.key] + GAP, key=column.key)
        self._fill(key)

    def action_move(self, by: int) -> None:
        """The machine under the cursor is tried earlier or later."""
        key, choice = self._key_under_cursor, self._choice
        if choice is not None and key in choice.order:
            self._change(choice.moved(key, by))

    def action_switch(self) -> None:
        """The machine under the cursor is tried, or not any more."""
        key, choice = self._key_under_cursor, self._choice
        if choice is not None and key in choice.order:
            self._change(choice.switched(key))

    def _change(self, choice: RentChoice) -> None:
        self.show(choice)
        self.post_message(self.Changed(choice))

    def _fill(self, key: str | None) -> None:
        self.clear()
        if not self._widths:
            return
        for row in self._rows:
            style = "dim" if row.order == "–" else _STOCK_STYLES.get(row.option.candidate.stock, "")
            cells = (
                column.cell(row, self._widths[column.key], style)
                for column in _COLUMNS
                if column.key in self._widths
            )
            self.add_row(*cells, key=row.key)
        keys = [row.key for row in self._rows]
        if key in keys:
            self.move_cursor(row=keys.index(key))


_STOCK_STYLES = {"none": "yellow"}


def _rows(choice: RentChoice) -> list[_Row]:
    rows, number = [], 0
    for option in choice.options:
        is_on = key_of(option) not in choice.off
        number += is_on
        rows.append(_Row(key_of(option), str(number) if is_on else "–", option))
    return rows + _left_out(choice.plan.left_out, {row.key for row in rows})


def _left_out(left_out: Sequence[LeftOut], known: set[str]) -> list[_Row]:
    rows = [_Row(key_of(item.option), "–", item.option, item.reason) for item in left_out]
    fresh = {row.key: row for row in rows if row.key not in known}
    return list(fresh.values())[:_MOST_LEFT_OUT]
