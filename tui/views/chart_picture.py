"""The picture of a training as cells, ticks and a legend; who paints it decides on the colours.

Knows neither Textual nor plotext.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tui.views.chart_axes import Axis, Label, decimals, scientific, step_axis, value_axis
from tui.views.chart_dots import Cells, DotGrid, Marker
from tui.views.curves import DEFAULT_SMOOTHING, Curve, Points, SmoothedCurve, TrainingCurves

Quantity = Literal["loss", "grad_norm", "learning_rate"]
Role = Literal["only", "raw", "smoothed", "held_out", "checkpoint", "resumed"]
"""What is drawn; "only" is a curve that is not smoothed."""

_NAMES: dict[Quantity, str] = {
    "loss": "loss",
    "grad_norm": "gradient norm",
    "learning_rate": "learning rate",
}
_FORMATS: dict[Quantity, str] = {"loss": ".4f", "grad_norm": ".4g", "learning_rate": ".2e"}
_LABELS: dict[Quantity, Label] = {
    "loss": decimals(4),
    "grad_norm": decimals(1),
    "learning_rate": scientific,
}
_SAMPLES: dict[Role, str] = {
    "only": "━",
    "raw": "┅",
    "smoothed": "━",
    "held_out": "◆",
    "checkpoint": "▲",
    "resumed": "│",
}
_ASCII_SAMPLES: dict[Role, str] = {
    "only": "*",
    "raw": ".",
    "smoothed": "*",
    "held_out": "o",
    "checkpoint": "^",
    "resumed": "|",
}
ROWS_BELOW = 2
"""The x axis and its labels."""
_ROWS_PER_TICK = 3
_ROWS_FOR_MARKS = 6
_LARGEST_FIXED = 1e7


@dataclass(frozen=True, slots=True)
class Look:
    """What to show of the curves, and how."""

    quantity: Quantity = "loss"
    smoothing: float = DEFAULT_SMOOTHING
    log_scale: bool = False
    window: int | None = None
    """So many last steps; None shows all."""
    marker: Marker = "braille"


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """`━ smoothed (0.6) 8.2011`; the parts stand in the order in which they are written."""

    role: Role | None
    sample: str
    name: str
    detail: str
    value: str

    def words(self, brevity: int = 0) -> str:
        """At brevity 1 marks go without their detail, at 2 curves as well."""
        has_detail = brevity == 0 or (brevity == 1 and self.value)
        parts = (self.name, self.detail if has_detail else "", self.value)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing of `columns` x `rows` cells with its axes; rows count from the bottom."""

    columns: int
    rows: int
    cells: dict[tuple[int, int], tuple[Role, str]]
    """(column, row) -> whose cell it is, and its character."""
    resumed_columns: tuple[int, ...]
    x_ticks: tuple[tuple[int, str], ...]
    y_ticks: tuple[tuple[int, str], ...]

    def runs(self) -> Iterator[tuple[Role, int, int, str]]:
        """Neighbours of one role together: (role, column of the first, row, characters)."""
        places = sorted(self.cells, key=lambda place: (place[1], place[0]))
        begin, before, characters = (-1, -1), (-1, -1), ""
        role: Role = "raw"
        for place in places:
            owner, character = self.cells[place]
            if owner == role and place == (before[0] + 1, before[1]):
                characters += character
            else:
                if characters:
                    yield role, *begin, characters
                role, begin, characters = owner, place, character
            before = place
        if characters:
            yield role, *begin, characters


def draw(curves: TrainingCurves, look: Look, width: int, height: int) -> Picture | str:
    """A picture that fills `width` x `height` with its axes, or the words that stand for it."""
    curve: Curve = getattr(curves, look.quantity)
    held_out = curves.eval_loss.steps if look.quantity == "loss" else []
    ends = _ends(curve.steps, held_out, look.window)
    if ends is None:
        return "no step yet"
    lines = _shown(curves, look, ends[0], width)
    values = [value for _, line_values in lines.values() for value in line_values]
    rows = height - ROWS_BELOW
    most_ticks = max(rows // _ROWS_PER_TICK + 1, 2)
    y_axis = value_axis(values, most_ticks, look.log_scale, _LABELS[look.quantity])
    if y_axis is None:
        return "no number" + (" above 0, which a log scale needs" if look.log_scale else "")
    columns = width - 1 - max((len(words) for _, words in y_axis.ticks), default=0)
    if columns < 1 or rows < 1:
        return "no room for the chart"
    grid = DotGrid(columns, rows, look.marker)
    x_axis = step_axis(*ends, columns)
    marked = _columns(curves.checkpoints, grid, x_axis) if rows >= _ROWS_FOR_MARKS else []
    # The marks have the lowest row for themselves.
    floor = 1 if marked else 0
    above = DotGrid(columns, rows - floor, look.marker)
    cells = {
        (column, row + floor): (role, character)
        for role, layer in _layers(lines, above, x_axis, y_axis)
        for (column, row), character in layer.items()
    }
    mark = _samples(look.marker)["checkpoint"]
    cells |= {(column, 0): ("checkpoint", mark) for column in marked}
    return Picture(
        columns,
        rows,
        cells,
        tuple(_columns(curves.resumes, grid, x_axis)),
        _one_for_each((grid.column(place), words) for place, words in x_axis.ticks),
        _one_for_each((floor + above.row(place), words) for place, words in y_axis.ticks),
    )


def legend(curves: TrainingCurves, look: Look) -> list[LegendEntry]:
    """What each look means, and the newest number of each; the most important first."""
    samples = _samples(look.marker)
    spec = _FORMATS[look.quantity]
    entries: list[LegendEntry] = []

    def add(role: Role, name: str, detail: str, value: str) -> None:
        entries.append(LegendEntry(role, samples[role], name, detail, value))

    curve: Curve = getattr(curves, look.quantity)
    is_smoothed = look.quantity == "loss" and look.smoothing > 0
    if curve.steps and is_smoothed:
        curves.smoothed.weight = look.smoothing
        add("raw", "raw", "", _number(curve.values[-1], spec))
        smoothed = _number(curves.smoothed.values[-1], spec)
        add("smoothed", "smoothed", f"({look.smoothing:g})", smoothed)
    elif curve.steps:
        add("only", _NAMES[look.quantity], "", _number(curve.values[-1], spec))
    if curves.eval_loss.steps and look.quantity == "loss":
        add("held_out", "held out", "", _number(curves.eval_loss.values[-1], spec))
    if curves.checkpoints:
        add("checkpoint", "checkpoint", f"at {curves.checkpoints[-1]}", "")
    if curves.resumes:
        add("resumed", "resumed", f"after {curves.resumes[-1]}", "")
    if look.log_scale:
        entries.append(LegendEntry(None, "", "log scale", "", ""))
    return entries


def _ends(steps: Sequence[int], more: Sequence[int], window: int | None) -> tuple[int, int] | None:
    """The first and the last step to show; None if there is none."""
    firsts = [some[0] for some in (steps, more) if some]
    if not firsts:
        return None
    first, last = min(firsts), max(some[-1] for some in (steps, more) if some)
    return (first if window is None else max(first, last - window + 1)), last


def _shown(curves: TrainingCurves, look: Look, first: int, width: int) -> dict[Role, Points]:
    """The curves to draw from step `first` on, no finer than that many cells can show."""

    def points(curve: Curve | SmoothedCurve) -> Points:
        # No marker has more than two dots beside each other.
        return curve.decimated(2 * width, bisect_left(curve.steps, first))

    if look.quantity != "loss":
        return {"only": points(getattr(curves, look.quantity))}
    lines: dict[Role, Points] = {"held_out": points(curves.eval_loss)}
    if look.smoothing == 0:
        lines["only"] = points(curves.loss)
    else:
        curves.smoothed.weight = look.smoothing
        lines |= {"raw": points(curves.loss), "smoothed": points(curves.smoothed)}
    return lines


def _layers(
    lines: dict[Role, Points], grid: DotGrid, x_axis: Axis, y_axis: Axis
) -> Iterable[tuple[Role, Cells]]:
    """From the back to the front."""
    samples = _samples(grid.marker)
    placed: dict[Role, list[tuple[float, float]]] = {
        role: [
            (x_axis.position(step), y_axis.position(value))
            for step, value in zip(*line, strict=True)
        ]
        for role, line in lines.items()
    }
    held_out = placed.pop("held_out", [])
    if "raw" in placed:
        yield "raw", grid.line(placed.pop("raw"), samples["raw"])
    yield "held_out", grid.line(held_out, "-", is_dashed=True)
    for role, line in placed.items():
        yield role, grid.line(line, samples[role], is_thick=role == "smoothed")
    yield (
        "held_out",
        {(grid.column(x), grid.row(y)): samples["held_out"] for x, y in held_out if y == y},
    )


def _samples(marker: Marker) -> dict[Role, str]:
    return _ASCII_SAMPLES if marker == "ascii" else _SAMPLES


def _one_for_each(ticks: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Where two ticks fall into one cell, the first."""
    kept: dict[int, str] = {}
    for cell, words in ticks:
        kept.setdefault(cell, words)
    return tuple(kept.items())


def _columns(steps: Sequence[int], grid: DotGrid, x_axis: Axis) -> list[int]:
    """The columns of those steps that are shown."""
    shown = steps[bisect_left(steps, x_axis.low) : bisect_right(steps, x_axis.high)]
    return sorted({grid.column(x_axis.position(step)) for step in shown})


def _number(value: float, spec: str) -> str:
    if math.isnan(value):
        return "–"
    if value == 0:
        return "0"
    return format(value, spec if abs(value) < _LARGEST_FIXED else ".3e")
