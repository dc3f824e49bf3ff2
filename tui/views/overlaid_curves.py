"""Curves of several jobs in one picture; each is told from the others by its letter.

Knows neither Textual nor colours: a cell names the job whose it is, and who paints it chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from shared.store.stored import MetricsPoint
from tui.views.chart_axes import Axis, decimals, step_axis, value_axis
from tui.views.chart_dots import Cells, DotGrid, Marker
from tui.views.curves import DEFAULT_SMOOTHING, decimate, smooth

Against = Literal["step", "epoch", "tokens"]
Shown = Literal["loss", "held out", "both"]

_HUNDREDTHS = 100
"""An axis has whole numbers: epochs are drawn in hundredths."""
_LARGEST = 1e12
_NAN = float("nan")
_LEAST_BETWEEN_MARKS = 12
"""Columns from one letter of a job to its next."""
ROWS_BELOW = 2


@dataclass(frozen=True, slots=True)
class OverlayLook:
    """What to show of the curves, and how."""

    shown: Shown = "loss"
    against: Against = "step"
    smoothing: float = DEFAULT_SMOOTHING
    """The weight of the past in the loss, from 0 to below 1."""
    marker: Marker = "braille"


@dataclass(frozen=True, slots=True)
class JobCurves:
    """The curves of one job against one axis; NaN is a gap."""

    mark: str
    """One letter."""
    loss: tuple[tuple[float, float], ...]
    held_out: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """A drawing of `columns` x `rows` cells; rows count from the bottom."""

    columns: int
    rows: int
    cells: dict[tuple[int, int], tuple[int, str]]
    """(column, row) -> which of the jobs, and the character."""
    x_ticks: tuple[tuple[int, str], ...]
    y_ticks: tuple[tuple[int, str], ...]


def curves_of(mark: str, points: Sequence[MetricsPoint], look: OverlayLook) -> JobCurves:
    """What was measured, against the step, the epoch or the tokens trained so far."""
    places = _places(points, look.against)
    losses = [
        (x, _number(point.loss))
        for x, point in zip(places, points, strict=True)
        if point.tokens is not None
    ]
    smoothed = smooth([loss for _, loss in losses], look.smoothing)
    held_out = [
        (x, _number(point.eval_loss))
        for x, point in zip(places, points, strict=True)
        if point.eval_supervised_tokens is not None
    ]
    line = tuple((x, loss) for (x, _), loss in zip(losses, smoothed, strict=True))
    return JobCurves(mark, line, tuple(held_out))


def draw_overlay(
    curves: Sequence[JobCurves], look: OverlayLook, width: int, height: int
) -> Overlay | str:
    """A picture that fills `width` x `height` with its axes, or the words that stand for it."""
    lines = [_shown(each, look) for each in curves]
    xs = [x for some in lines for line in some for x, _ in line]
    if not xs:
        return "no step yet" if look.shown == "loss" else "no evaluation yet"
    rows = height - ROWS_BELOW
    values = [y for some in lines for line in some for _, y in line]
    y_axis = value_axis(values, max(rows // 3 + 1, 2), False, decimals(4))
    if y_axis is None:
        return "no number"
    columns = width - 1 - max((len(words) for _, words in y_axis.ticks), default=0)
    if columns < 1 or rows < 1:
        return "no room for the chart"
    x_axis = _x_axis(xs, look.against, columns)
    grid = DotGrid(columns, rows, look.marker)
    return Overlay(
        columns,
        rows,
        _cells(curves, look, grid, x_axis, y_axis),
        tuple({grid.column(place): words for place, words in x_axis.ticks}.items()),
        tuple({grid.row(place): words for place, words in y_axis.ticks}.items()),
    )


def _cells(
    curves: Sequence[JobCurves], look: OverlayLook, grid: DotGrid, x_axis: Axis, y_axis: Axis
) -> dict[tuple[int, int], tuple[int, str]]:
    """Lines at the back, letters in front; the first job, which is the best, over the others."""
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    letters: dict[tuple[int, int], tuple[int, str]] = {}
    for number in reversed(range(len(curves))):
        each = curves[number]
        if look.shown != "held out":
            line = _placed(each.loss, grid, x_axis, y_axis)
            drawn = grid.line(line, ".")
            cells |= {place: (number, character) for place, character in drawn.items()}
            along = _along(drawn, number, len(curves))
            letters |= dict.fromkeys(along, (number, each.mark))
        if look.shown != "loss":
            points = _placed(each.held_out, grid, x_axis, y_axis)
            drawn = grid.line(points, "-", is_dashed=look.shown == "both")
            cells |= {place: (number, character) for place, character in drawn.items()}
            mark = each.mark.lower() if look.shown == "both" else each.mark
            at = ((grid.column(x), grid.row(y)) for x, y in points if y == y)
            letters |= dict.fromkeys(at, (number, mark))
    return cells | letters


def _along(drawn: Cells, number: int, count: int) -> Iterable[tuple[int, int]]:
    """Where the letters of a curve stand: at its end, and now and then, each job elsewhere."""
    rows: dict[int, list[int]] = {}
    for column, row in drawn:
        rows.setdefault(column, []).append(row)
    if not rows:
        return
    between = max(_LEAST_BETWEEN_MARKS, 2 * count)
    last = max(rows)
    for column in [*range(between // 2 + number * between // count, last, between), last]:
        if column in rows:
            yield column, sorted(rows[column])[len(rows[column]) // 2]


def _shown(each: JobCurves, look: OverlayLook) -> list[tuple[tuple[float, float], ...]]:
    both = {"loss": [each.loss], "held out": [each.held_out], "both": [each.loss, each.held_out]}
    return both[look.shown]


def _placed(
    line: Sequence[tuple[float, float]], grid: DotGrid, x_axis: Axis, y_axis: Axis
) -> list[tuple[float, float]]:
    """Positions from 0 to 1, no more of them than the drawing can show."""
    indexes, values = decimate(range(len(line)), [y for _, y in line], 2 * grid.dot_columns)
    return [
        (x_axis.position(line[index][0]), y_axis.position(y))
        for index, y in zip(indexes, values, strict=True)
    ]


def _places(points: Sequence[MetricsPoint], against: Against) -> list[float]:
    match against:
        case "step":
            return [float(point.step) for point in points]
        case "epoch":
            return [point.epoch * _HUNDREDTHS for point in points]
        case "tokens":
            return [float(sum_) for sum_ in accumulate(point.tokens or 0 for point in points)]


def _x_axis(xs: Sequence[float], against: Against, columns: int) -> Axis:
    """One for all jobs, so that those of different length line up."""
    axis = step_axis(int(min(xs)), max(int(max(xs)), int(min(xs)) + 1), columns)
    if against == "step":
        return axis
    label = _epochs if against == "epoch" else _tokens
    return replace(axis, ticks=tuple((place, label(words)) for place, words in axis.ticks))


def _epochs(words: str) -> str:
    return f"{int(words) / _HUNDREDTHS:g}"


def _tokens(words: str) -> str:
    """`20k`, `1.5M`."""
    count = int(words)
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:g}{unit}"
    return words


def _number(value: float | None) -> float:
    return value if value is not None and abs(value) < _LARGEST else _NAN
