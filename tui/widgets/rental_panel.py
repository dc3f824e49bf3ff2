"""A rented job's machines, what they cost, and what was agreed for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from shared.job_state import JobState
from tui.services.rental_watch import RentalSight
from tui.views.machine_lines import MachineLine, agreed_pairs, machine_lines
from tui.views.money_lines import money_of_sight, money_pairs

_WIDE = 100


class RentalPanel(VerticalScroll):
    """Machines above, the agreement below."""

    DEFAULT_CSS = """
    RentalPanel { padding: 1 2; }
    RentalPanel Static { width: 1fr; height: auto; }
    RentalPanel #agreed { margin: 1 0 0 0; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static("Nothing has been rented yet.", id="job-machines", markup=False)
        yield Static(id="agreed", markup=False)

    def show(self, sight: RentalSight, state: JobState, now: datetime) -> None:
        """The machines and the money as they are at `now`."""
        lines = machine_lines(sight.machines, now)
        width = self.content_region.width
        money = money_pairs(money_of_sight(sight, state, now))
        shown = (tuple(lines), tuple(money), sight.stored.request, width)
        if shown == self._shown:
            return
        self._shown = shown
        if lines:
            table = _table(lines, is_wide=width >= _WIDE)
            self.query_exactly_one("#job-machines", Static).update(table)
        agreed = Table.grid(padding=(0, 2))
        agreed.add_column(style="dim", no_wrap=True)
        agreed.add_column(ratio=1)
        for name, value in [*filter(_has_value, money), *agreed_pairs(sight.stored.request)]:
            agreed.add_row(Text(name), Text(value))
        self.query_exactly_one("#agreed", Static).update(agreed)


def _has_value(pair: tuple[str, str]) -> bool:
    return bool(pair[1])


def _table(lines: Sequence[MachineLine], *, is_wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("", justify="right")
    table.add_column("MACHINE", no_wrap=True, overflow="ellipsis")
    table.add_column("STATE", no_wrap=True)
    table.add_column("$/H", justify="right")
    table.add_column("COST", justify="right")
    table.add_column("LASTED", justify="right")
    if is_wide:
        table.add_column("SINCE", no_wrap=True)
    table.add_column("WHY", ratio=1)
    for line in lines:
        since = [Text(line.since)] if is_wide else []
        state = Text(line.state, style=_style(line))
        price, cost = Text(line.price), Text(line.cost)
        lasted, why = Text(line.lasted), Text(line.why, style="dim")
        table.add_row(line.number, Text(line.label), state, price, cost, lasted, *since, why)
    return table


def _style(line: MachineLine) -> str:
    if line.is_alarming:
        return "bold red"
    return "bold" if line.is_paid else "dim"
