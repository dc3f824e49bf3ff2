"""Where numbers stand on an axis, and which of them get a label. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

_PADDING = 0.04
"""Share of the range that stays free above and below."""

# Numbers closer together than this share of their size are one number to a reader.
_SAME = 1e-9
_SMALLEST = 1e-300

Label = Callable[[float, float], str]
"""The words for a tick, from its value and the distance to the next one."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, in decades where it is logarithmic; ticks are (position, label)."""

    low: float
    high: float
    is_log: bool
    ticks: tuple[tuple[float, str], ...]

    def position(self, value: float) -> float:
        """0 at the beginning of the axis, 1 at its end; NaN is a gap."""
        place = decade(value) if self.is_log else value
        return (place - self.low) / (self.high - self.low)


def decade(value: float) -> float:
    """log10; NaN for what has none."""
    return math.log10(value) if value >= _SMALLEST else math.nan


def value_axis(values: Iterable[float], most_ticks: int, is_log: bool, label: Label) -> Axis | None:
    """An axis that holds all `values` with room around them; None if no number can stand on it."""
    places = [decade(value) if is_log else value for value in values]
    known = [place for place in places if place == place]
    if not known:
        return None
    low, high = _padded(min(known), max(known), is_log)
    ticks = _log_ticks(low, high, most_ticks) if is_log else _even_ticks(low, high, most_ticks)
    labelled = []
    for tick, distance in zip(ticks, _distances(ticks, high - low, is_log), strict=True):
        place = decade(tick) if is_log else tick
        if low <= place <= high:
            labelled.append(((place - low) / (high - low), label(tick, distance)))
    return Axis(low, high, is_log, tuple(labelled))


def step_axis(first: int, last: int, columns: int) -> Axis:
    """An axis of whole steps for a drawing of that many columns; its labels never touch."""
    last = max(last, first + 1)
    longest = max(len(str(first)), len(str(last)))
    most_ticks = max(columns // (longest + 6), 1)
    ticks: list[tuple[float, str]] = []
    for tick in _even_ticks(first, last, most_ticks, smallest=1.0):
        place = (tick - first) / (last - first)
        # Labels at the edges move inward; two beside each other need that much room.
        if not ticks or (place - ticks[-1][0]) * columns > longest + 3:
            ticks.append((place, str(round(tick))))
    return Axis(first, last, False, tuple(ticks))


def decimals(fewest: int) -> Label:
    """Labels with at least so many decimals, and more where neighbours would look the same."""

    def label(value: float, distance: float) -> str:
        needed = max(fewest, -_power(distance))
        if distance >= 1e5 or needed > fewest + 6:
            return scientific(value, distance)
        return f"{value:.{needed}f}"

    return label


def scientific(value: float, distance: float) -> str:
    """`2.0e-04`, with as many digits as it takes to tell neighbours apart."""
    if abs(value) < _SMALLEST:
        return "0"
    digits = min(max(_power(abs(value)) - _power(distance), 1), 12)
    return f"{value:.{digits}e}"


def _padded(low: float, high: float, is_log: bool) -> tuple[float, float]:
    size = max(abs(low), abs(high))
    if high - low > max(size * _SAME, _SMALLEST):
        room = (high - low) * _PADDING
    elif is_log or size < _SMALLEST:
        room = 0.5
    else:
        room = size * 0.1
    # Nothing that is drawn falls below 0, except where a value does.
    bottom = low - room if is_log or low < 0 else max(low - room, 0.0)
    return bottom, high + room


def _power(number: float) -> int:
    """The power of ten of its first digit, blind to the last bits of a float."""
    return math.floor(math.log10(number) + 1e-6)


def _distances(ticks: Sequence[float], height: float, is_log: bool) -> list[float]:
    """How far each tick is from the one before it; even ticks all have the same distance."""
    if is_log:
        return [tick - before for before, tick in pairwise([0.0, *ticks])]
    return [ticks[1] - ticks[0] if len(ticks) > 1 else height] * len(ticks)


def _even_ticks(low: float, high: float, most: int, smallest: float = 0.0) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at least `smallest` apart."""
    distance = _round_up((high - low) / max(most, 1))
    if distance < smallest:
        distance = smallest
    first, last = math.ceil(low / distance), math.floor(high / distance)
    return [number * distance for number in range(first, last + 1)]


def _round_up(distance: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 ..."""
    power = 10.0 ** _power(distance)
    return next((f * power for f in (1, 2, 5) if f * power >= distance * 0.999), 10 * power)


def _log_ticks(low: float, high: float, most: int) -> Sequence[float]:
    """Values at which a logarithmic axis from `low` to `high` (decades) gets ticks."""
    if high - low < 1:
        return [tick for tick in _even_ticks(10**low, 10**high, most) if tick >= _SMALLEST]
    for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [
            factor * 10.0**power
            for power in range(math.floor(low), math.ceil(high) + 1)
            for factor in factors
            if low <= power + math.log10(factor) <= high and power > -300
        ]
        if len(ticks) <= most:
            return ticks
    apart = math.ceil((high - low) / max(most, 1))
    return [10.0**power for power in range(math.ceil(low), math.floor(high) + 1, apart)]
