"""Columns of a table that fits its width: some have to be left out, and one takes the rest.

Widths are terminal cells; a text that does not fit ends in an ellipsis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text

GAP = 2
"""Between columns; belongs to the one before it."""

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """`width` in cells, 0 for what is left; shown in tables of at least `from_width` cells."""

    key: str
    label: str
    width: int
    from_width: int
    value: Callable[[Row], str]
    is_number: bool = False

    def heading(self, width: int) -> str:
        """The label, as its values stand."""
        return self.label.rjust(width) if self.is_number else self.label

    def cell(self, row: Row, width: int, style: str = "") -> Text:
        """The row's value."""
        return fitted_text(self.value(row), width, style, is_number=self.is_number)


def fitted_widths(
    columns: Sequence[Column[Row]], available: int, *, least_rest: int
) -> dict[str, int]:
    """Width of each column that is shown; the one that takes the rest has at least `least_rest`."""
    widths = {item.key: item.width for item in columns if available >= item.from_width}
    left = available - sum(width + GAP for width in widths.values())
    return {key: width or max(left, least_rest) for key, width in widths.items()}


def fitted_text(value: str, width: int, style: str = "", *, is_number: bool = False) -> Text:
    """The value on one line of at most `width` cells; numbers at the right."""
    if cell_len(value) > width:
        value = set_cell_size(value, max(width - 1, 0)).rstrip() + "…"
    return Text(value.rjust(width) if is_number else value, style=style, no_wrap=True)
