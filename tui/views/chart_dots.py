"""Lines as characters: a cell of the grid holds several dots, and one character shows them.

Knows positions from 0 to 1, and neither curves nor terminals.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Marker = Literal["braille", "block", "ascii"]
"""2 x 4 dots a cell, 2 x 2, or 1 for a terminal that shows nothing but ASCII."""

# For each dot column of a cell the bits of its dots, from the bottom up; braille's are Unicode's.
_BITS: dict[Marker, tuple[tuple[int, ...], ...]] = {
    "braille": ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08)),
    "block": ((1, 2), (4, 8)),
    "ascii": ((1,),),
}
_BLOCKS = " ▖▘▌▗▄▚▙▝▞▀▛▐▟▜█"

_DASH = 2
"""Cells of line, then as many of nothing."""


Cells = dict[tuple[int, int], str]
"""What a line fills: (column, row from the bottom) -> character."""


class DotGrid:
    """The dots of a drawing of `columns` x `rows` cells, both at least 1."""

    def __init__(self, columns: int, rows: int, marker: Marker) -> None:
        self.columns, self.rows = columns, rows
        self.marker = marker
        self._bits = _BITS[marker]
        self.dot_columns = columns * len(self._bits)
        self.dot_rows = rows * len(self._bits[0])

    def column(self, x: float) -> int:
        """The cell column at `x`, from 0 at the left to 1 at the right."""
        return self._dot(x, self.dot_columns) // len(self._bits)

    def row(self, y: float) -> int:
        """The cell row at `y`, from 0 at the bottom to 1 at the top."""
        return self._dot(y, self.dot_rows) // len(self._bits[0])

    def line(
        self,
        points: Iterable[tuple[float, float]],
        glyph: str,
        *,
        is_thick: bool = False,
        is_dashed: bool = False,
    ) -> Cells:
        """A line through `points`, whose x never falls; NaN interrupts it.

        `glyph` is its character where there is only ASCII.
        """
        # A second dot makes a line thicker only where a dot is small.
        thickness = 1 if is_thick and self.marker == "braille" else 0
        filled: dict[int, int] = {}
        before: tuple[int, int] | None = None
        for x, y in points:
            if y != y:
                before = None
                continue
            here = self._dot(x, self.dot_columns), self._dot(y, self.dot_rows)
            for column, low, high in _spans(before or here, here):
                if is_dashed and column // (_DASH * len(self._bits)) % 2:
                    continue
                self._fill(filled, column, low, min(high + thickness, self.dot_rows - 1))
            before = here
        return self._cells(filled, glyph)

    def _fill(self, filled: dict[int, int], column: int, low: int, high: int) -> None:
        """Set the dots from `low` to `high` in one dot column."""
        bits = self._bits[column % len(self._bits)]
        height = len(bits)
        bottom, top = low // height, high // height
        place = bottom * self.columns + column // len(self._bits)
        if bottom == top:
            some = sum(bits[low - bottom * height : high - bottom * height + 1])
            filled[place] = filled.get(place, 0) | some
            return
        filled[place] = filled.get(place, 0) | sum(bits[low - bottom * height :])
        all_bits = sum(bits)
        for _ in range(top - bottom - 1):
            place += self.columns
            filled[place] = filled.get(place, 0) | all_bits
        place += self.columns
        filled[place] = filled.get(place, 0) | sum(bits[: high - top * height + 1])

    def _cells(self, filled: dict[int, int], glyph: str) -> Cells:
        match self.marker:
            case "braille":
                characters = [chr(0x2800 + bits) for bits in filled.values()]
            case "block":
                characters = [_BLOCKS[bits] for bits in filled.values()]
            case "ascii":
                characters = [glyph] * len(filled)
        places = (divmod(place, self.columns) for place in filled)
        return {
            (column, row): character
            for (row, column), character in zip(places, characters, strict=True)
        }

    @staticmethod
    def _dot(position: float, count: int) -> int:
        return min(max(int(position * (count - 1) + 0.5), 0), count - 1)


def _spans(start: tuple[int, int], end: tuple[int, int]) -> Iterable[tuple[int, int, int]]:
    """(column, low, high) of a line without holes that is nowhere thicker than it must be."""
    (x0, y0), (x1, y1) = start, end
    if x0 == x1:
        yield x0, min(y0, y1), max(y0, y1)
        return
    here = y0
    for column in range(x0, x1):
        there = y0 + round((y1 - y0) * (column + 1 - x0) / (x1 - x0))
        if abs(there - here) <= 1:
            yield column, here, here
            yield column + 1, there, there
        else:
            middle = (here + there) // 2
            upward = there > here
            yield column, min(here, middle + (not upward)), max(here, middle)
            yield column + 1, min(middle + upward, there), max(middle, there)
        here = there
