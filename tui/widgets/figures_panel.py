"""Names and values, in as many columns as there is room for."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.widgets import Static

from tui.views.job_figures import Pairs

_COLUMN = 26
"""Cells that a name and its value need beside each other."""


class FiguresPanel(Static):
    """A quiet table of figures; values stand in one line below each other."""

    DEFAULT_CSS = """
    FiguresPanel { height: auto; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._row_count = 0

    def show(self, pairs: Pairs) -> None:
        """Replace the figures."""
        width = max(self.content_region.width, _COLUMN)
        columns = max(width // _COLUMN, 1)
        rows = -(-len(pairs) // columns)
        table = Table.grid(padding=(0, 1), expand=True)
        for _ in range(columns):
            table.add_column(style="dim", no_wrap=True)
            table.add_column(justify="right", no_wrap=True, ratio=1)
        for row in range(rows):
            cells: list[Text] = []
            for name, value in pairs[row::rows]:
                cells += [Text(name), Text(value)]
            table.add_row(*cells)
        self.update(table, layout=rows != self._row_count)
        self._row_count = rows
