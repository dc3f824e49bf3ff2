"""Dollars as upright bars, with a line for the limit: cells only, who paints them picks colours.

Two pictures: what each day cost, and how the month adds up. Knows neither Textual nor plotext.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

from shared.number_text import many, usd
from tui.views.chart_axes import Axis, value_axis

if TYPE_CHECKING:
    from tui.services.cost_report import MonthCosts
    from tui.services.spending.costs import CostLine

Role = Literal["bar", "expected", "limit", "frame"]
Run = tuple[Role, str]
"""Neighbouring cells of one role."""

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_EXPECTED, _ASCII_EXPECTED = "░", ":"
_LIMIT, _ASCII_LIMIT = "╌", "-"
_WIDEST_BAR = 10
_LONGEST_LABEL = 6
"""`23 Nov`."""
_ROWS_BELOW = 2
_FEWEST_ROWS = 2
_ROWS_PER_TICK = 3
_LIMIT_IN_SIGHT = 3.0
"""A limit that is so many times the highest bar would press all bars to the floor."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One upright bar."""

    first_day: date
    usd: float
    is_expected: bool = False
    """It lies ahead."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What to draw, and what it is called."""

    title: str
    bars: tuple[Bar, ...]
    limit_usd: float
    limit_name: str
    always_limit: bool = False
    """Show the limit however far above the bars it is."""

    @property
    def shows_limit(self) -> bool:
        """True where its line is drawn."""
        highest = max((bar.usd for bar in self.bars), default=0.0)
        return self.always_limit or self.limit_usd <= highest * _LIMIT_IN_SIGHT


def bars_by_day(
    lines: Iterable[CostLine], first: date, days: int, month: MonthCosts, most_bars: int
) -> Bars:
    """One bar for each day, or for some days together where there is no room for all."""
    each = -(-days // max(most_bars, 1))
    # Today is the last of a whole bar: the first bar may have fewer days.
    offset = -days % each
    sums = [0.0] * (-(-days // each))
    for line in lines:
        place = (line.day - first).days
        if 0 <= place < days:
            sums[(place + offset) // each] += line.usd
    starts = [first + timedelta(days=max(number * each - offset, 0)) for number in range(len(sums))]
    pace = month.limit_usd / month.days * each
    what = "dollars a day" if each == 1 else f"dollars in {many(each, 'day')}"
    return Bars(
        title=what,
        bars=tuple(Bar(start, value) for start, value in zip(starts, sums, strict=True)),
        limit_usd=pace,
        limit_name=f"the limit's pace, {usd(pace, 12)}",
    )


def bars_of_month(month: MonthCosts) -> Bars:
    """What the month has cost at the end of each day; days to come at the pace so far."""
    bars, total = [], 0.0
    for number, value in enumerate(month.daily_usd):
        total += value
        bars.append(Bar(month.begin + timedelta(days=number), total))
    left = month.days - len(bars)
    if month.projected_usd is not None:
        rise = max(month.projected_usd - total, 0.0)
        for number in range(1, left + 1):
            day = month.begin + timedelta(days=len(bars))
            bars.append(Bar(day, total + rise * number / left, is_expected=True))
    else:
        later = [month.begin + timedelta(days=len(bars) + number) for number in range(left)]
        bars += [Bar(day, 0.0, is_expected=True) for day in later]
    return Bars(
        title=f"dollars of {month.begin:%B}, added up",
        bars=tuple(bars),
        limit_usd=month.limit_usd,
        limit_name=f"the limit, {usd(month.limit_usd, 12)}",
        always_limit=True,
    )


def legend_runs(shown: Bars, *, ascii_only: bool = False) -> list[Run]:
    """The line above the picture."""
    runs: list[Run] = [("bar", "# " if ascii_only else "█ "), ("frame", shown.title)]
    if any(bar.is_expected and bar.usd > 0 for bar in shown.bars):
        sample = _ASCII_EXPECTED if ascii_only else _EXPECTED
        runs += [("frame", "  "), ("expected", f"{sample} "), ("frame", "at this pace")]
    if shown.shows_limit:
        sample = (_ASCII_LIMIT if ascii_only else _LIMIT) * 2
        runs += [("frame", "  "), ("limit", f"{sample} "), ("frame", shown.limit_name)]
    return runs


def draw_bars(
    shown: Bars, width: int, height: int, *, ascii_only: bool = False
) -> list[list[Run]] | str:
    """Rows from the top, none longer than `width`; or the words that stand for them."""
    highest = max((bar.usd for bar in shown.bars), default=0.0)
    if highest <= 0:
        return "nothing was paid for in this time"
    rows = height - _ROWS_BELOW
    if rows < _FEWEST_ROWS:
        return "no room for the picture"
    top = max(highest, shown.limit_usd) if shown.shows_limit else highest
    axis = value_axis([0.0, top], max(rows // _ROWS_PER_TICK + 1, 2), False, _dollars)
    gutter = max((len(words) for _, words in axis.ticks), default=0) if axis else 0
    columns = width - gutter - 1
    count = len(shown.bars)
    if axis is None or columns < count:
        return "no room for the picture"
    room = columns // count
    gap = 1 if room > 1 else 0
    grid = _Grid(shown, axis, rows, min(room - gap, _WIDEST_BAR), gap, columns, ascii_only)
    ticks = {grid.row_at(place): words for place, words in reversed(axis.ticks)}
    side, tick = ("|", "+") if ascii_only else ("│", "┤")
    picture = []
    for row in reversed(range(rows)):
        words = ticks.get(row, "")
        edge: Run = ("frame", words.rjust(gutter) + (tick if words else side))
        picture.append([edge, *grid.row(row)])
    corner, floor = ("+", "-") if ascii_only else ("└", "─")
    picture.append([("frame", " " * gutter + corner + floor * columns)])
    picture.append([("frame", " " * (gutter + 1) + _day_labels(shown.bars, grid.step, columns))])
    return picture


@dataclass(frozen=True, slots=True)
class _Grid:
    """The cells between the axes; row 0 is the lowest."""

    shown: Bars
    axis: Axis
    rows: int
    bar_width: int
    gap: int
    columns: int
    ascii_only: bool

    @property
    def step(self) -> int:
        """From one bar to the next, in cells."""
        return self.bar_width + self.gap

    def row_at(self, place: float) -> int:
        """Where a line at this place of the axis runs."""
        return min(int(place * self.rows), self.rows - 1)

    def row(self, row: int) -> list[Run]:
        """From left to right."""
        cells: list[Run] = []
        for bar in self.shown.bars:
            cell = self._cell(bar, row)
            cells += [cell] * self.bar_width + [self._behind(row)] * self.gap
        cells += [self._behind(row)] * (self.columns - len(cells))
        return _runs(cells[: self.columns])

    def _cell(self, bar: Bar, row: int) -> Run:
        if bar.usd <= 0:
            return self._behind(row)
        eighths = max(round(self.axis.position(bar.usd) * self.rows * 8), 1) - row * 8
        if bar.is_expected or self.ascii_only:
            # Whole cells only; the lowest is there however little it is.
            if eighths < 4 and not (row == 0 and eighths > 0):
                return self._behind(row)
            if bar.is_expected:
                return "expected", _ASCII_EXPECTED if self.ascii_only else _EXPECTED
            return "bar", "#"
        return ("bar", _EIGHTHS[min(eighths, 8)]) if eighths > 0 else self._behind(row)

    def _behind(self, row: int) -> Run:
        limit_row = self.row_at(self.axis.position(self.shown.limit_usd))
        if self.shown.shows_limit and row == limit_row:
            return "limit", _ASCII_LIMIT if self.ascii_only else _LIMIT
        return "frame", " "


def _runs(cells: Sequence[Run]) -> list[Run]:
    joined: list[Run] = []
    for role, character in cells:
        if joined and joined[-1][0] == role:
            joined[-1] = (role, joined[-1][1] + character)
        else:
            joined.append((role, character))
    return joined


def _day_labels(bars: Sequence[Bar], step: int, columns: int) -> str:
    """`1 Nov`, under as many bars as there is room for."""
    every = -(-(_LONGEST_LABEL + 2) // step)
    line = ""
    for number in range(0, len(bars), every):
        label = f"{bars[number].first_day.day} {bars[number].first_day:%b}"
        place = number * step
        if place + len(label) <= columns:
            line = line.ljust(place) + label
    return line


def _dollars(value: float, distance: float) -> str:
    if distance >= 1:
        return f"${value:,.0f}"
    return f"${value:.2f}" if distance >= 0.01 else f"${value:.4f}"
