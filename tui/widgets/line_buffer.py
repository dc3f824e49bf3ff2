"""The lines of a log, which of them are shown, and where a search matches; knows no Textual.

Every line has a number that stays its own when older lines are dropped. A row is a place in what is
shown: all lines, or only those that match.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from shared.clean_text import clean_output

LONGEST_LINE = 4_000
"""Characters; a longer line goes on in the next one, since drawing takes time with its length."""


class Match(NamedTuple):
    """Characters [start, end) of the line of that number."""

    number: int
    start: int
    end: int


class LineBuffer:
    """The newest `max_lines` lines."""

    def __init__(self, max_lines: int) -> None:
        self._max_lines = max_lines
        self._lines: list[str] = []
        self.first_number = 0
        """Of the oldest line that is still there."""
        self._pattern: re.Pattern[str] | None = None
        self._matches: list[Match] = []
        self._matching: list[int] = []
        self._only_matching = False
        self.width = 0
        """Cells of the widest line so far."""

    @property
    def lines(self) -> Sequence[str]:
        """All lines, shown or not."""
        return self._lines

    def append(self, lines: Iterable[str]) -> tuple[int, int]:
        """(lines that were added, rows that left the top for them)."""
        incoming = list(lines)
        skipped = max(0, len(incoming) - self._max_lines)
        added = [safe for line in incoming[skipped:] for safe in displayable(line)]
        count = skipped + len(added)
        end = self.first_number + len(self._lines) + count
        rows_gone = self._forget_before(end - self._max_lines)
        kept = added[-self._max_lines :]
        self._lines += kept
        self._match(end - len(kept), kept)
        self.width = max([self.width, *map(cell_len, kept)])
        return count, rows_gone

    def clear(self) -> None:
        """Forget all lines; the search stays."""
        self._forget_before(self.first_number + len(self._lines))
        self.width = 0

    def _forget_before(self, number: int) -> int:
        gone = number - self.first_number
        if gone <= 0:
            return 0
        rows_gone = min(self.row_of(number), self.row_count)
        del self._lines[:gone]
        del self._matches[: bisect_left(self._matches, (number,))]
        del self._matching[: bisect_left(self._matching, number)]
        self.first_number = number
        return rows_gone

    # --- rows ---------------------------------------------------------------------------------

    @property
    def is_filtered(self) -> bool:
        """Only lines that match are shown."""
        return self._only_matching and self._pattern is not None

    @property
    def row_count(self) -> int:
        return len(self._matching if self.is_filtered else self._lines)

    def number_at(self, row: int) -> int:
        return self._matching[row] if self.is_filtered else self.first_number + row

    def row_of(self, number: int) -> int:
        """The row of that line, or of the first one shown after it."""
        if self.is_filtered:
            return bisect_left(self._matching, number)
        return max(0, number - self.first_number)

    def text(self, number: int) -> str:
        return self._lines[number - self.first_number]

    # --- search -------------------------------------------------------------------------------

    @property
    def is_searched(self) -> bool:
        return self._pattern is not None

    @property
    def match_count(self) -> int:
        return len(self._matches)

    def search(self, query: str) -> None:
        """Find the query as it stands; an uppercase letter in it makes case matter."""
        flags = re.NOFLAG if any(map(str.isupper, query)) else re.IGNORECASE
        self._pattern = re.compile(re.escape(query), flags) if query else None
        self._only_matching = self._only_matching and bool(query)
        self._matches, self._matching = [], []
        self._match(self.first_number, self._lines)

    def show_only_matching(self, only_matching: bool) -> None:
        """Show all lines, or those alone in which the search matches."""
        self._only_matching = only_matching

    def matches_in(self, number: int) -> list[Match]:
        begin = bisect_left(self._matches, (number,))
        return self._matches[begin : bisect_left(self._matches, (number + 1,), begin)]

    def nearest(self, number: int) -> Match | None:
        """The first match from that line on; failing that, the last before it."""
        index = min(bisect_left(self._matches, (number,)), len(self._matches) - 1)
        return self._matches[index] if self._matches else None

    def step(self, current: Match, direction: int) -> Match | None:
        """The next match, or with -1 the one before; round the ends."""
        if not self._matches:
            return None
        find = bisect_right if direction > 0 else bisect_left
        index = find(self._matches, current) - (direction < 0)
        return self._matches[index % len(self._matches)]

    def place(self, match: Match) -> int:
        """1 for the first of all matches."""
        return bisect_left(self._matches, match) + 1

    def _match(self, number: int, lines: Iterable[str]) -> None:
        if self._pattern is None:
            return
        for at, line in enumerate(lines, number):
            found = [Match(at, *match.span()) for match in self._pattern.finditer(line)]
            if found:
                self._matches += found
                self._matching.append(at)


def displayable(line: str) -> list[str]:
    """Safe to draw: no control sequence, no tab; a progress bar's redrawings as lines of their own.

    Several lines if there are breaks in it or it is very long; an empty line stays one.
    """
    text = clean_output(line).expandtabs()
    if len(text) <= LONGEST_LINE and "\n" not in text:
        return [text]
    return [
        part[begin : begin + LONGEST_LINE]
        for part in text.removesuffix("\n").split("\n")
        for begin in range(0, max(len(part), 1), LONGEST_LINE)
    ]
