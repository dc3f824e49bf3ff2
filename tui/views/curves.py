"""What a training measured, as curves over the optimizer step; plain numbers, nothing is drawn.

A curve grows at its end. A resumed attempt does some steps again: the latest attempt wins, and
whatever was computed from the curve is computed again from there on only.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from shared.events import CheckpointCommitted, Evaluation, JournalRecord, Metrics, Resumed

if TYPE_CHECKING:
    from shared.store.stored import MetricsPoint

Points = tuple[list[int], list[float]]
"""(steps, values), both of one length; NaN is a gap."""

DEFAULT_SMOOTHING = 0.6
"""The weight that TensorBoard starts with (looked at 2026-11)."""

# plotext takes seconds and gigabytes for numbers beyond it (measured 2026-11).
_TOO_LARGE = 1e12

# Below it, 1 - bias is 1 to the last bit of a float.
_NO_BIAS = 1e-20


class Curve:
    """One quantity against the optimizer step."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []
        self.rewrites: list[int] = []
        """The index of every change that was not an append, in the order of the changes."""
        self._buckets = _Buckets(self)

    def put(self, step: int, value: float | None) -> bool:
        """Set what was measured at `step`; the latest word wins. True if that changed anything."""
        number = _number_or_gap(value)
        if not self.steps or step > self.steps[-1]:
            self.steps.append(step)
            self.values.append(number)
            return True
        index = bisect_left(self.steps, step)
        if self.steps[index] != step:
            self.steps.insert(index, step)
            self.values.insert(index, number)
        elif _is_same(self.values[index], number):
            return False
        else:
            self.values[index] = number
        self.rewrites.append(index)
        return True

    def decimated(self, buckets: int, start: int = 0) -> Points:
        """What `decimate` makes of the points from index `start` on, quickly when repeated."""
        return self._buckets.decimate(self.values, buckets, start)

    def unchanged(self, seen: int) -> int:
        """How many points stand as they did when `rewrites` had `seen` entries."""
        return min(self.rewrites[seen:], default=len(self.steps))


class SmoothedCurve:
    """The exponential moving average of a curve; gaps stay gaps and count for nothing."""

    def __init__(self, source: Curve, weight: float = DEFAULT_SMOOTHING) -> None:
        self._source = source
        self._start(weight)

    @property
    def weight(self) -> float:
        """What the past counts for, from 0 (nothing) to below 1."""
        return self._average.weight

    @weight.setter
    def weight(self, weight: float) -> None:
        if weight != self.weight:
            self._start(weight)

    def _start(self, weight: float) -> None:
        self._average = _Average(weight)
        self._values: list[float] = []
        self._seen = len(self._source.rewrites)
        self._buckets = _Buckets(self._source)

    @property
    def steps(self) -> list[int]:
        return self._source.steps

    @property
    def values(self) -> list[float]:
        """Up to date with the source, one for each of its points."""
        standing = self._source.unchanged(self._seen)
        self._seen = len(self._source.rewrites)
        if standing < len(self._values):
            del self._values[standing:]
            self._average.go_back(self._values)
        self._average.extend(self._values, self._source.values)
        return self._values

    def decimated(self, buckets: int, start: int = 0) -> Points:
        """What `decimate` makes of the points from index `start` on, quickly when repeated."""
        return self._buckets.decimate(self.values, buckets, start)


class TrainingCurves:
    """Everything of one job that is drawn against the step."""

    def __init__(self) -> None:
        self.loss = Curve()
        self.smoothed = SmoothedCurve(self.loss)
        self.eval_loss = Curve()
        self.grad_norm = Curve()
        self.learning_rate = Curve()
        self.checkpoints: list[int] = []
        self.resumes: list[int] = []
        """Steps after which an attempt went on from a checkpoint."""
        self.version = 0
        """Grows with every change; the weight of `smoothed` is a way of looking, not a change."""

    def add_points(self, points: Iterable[MetricsPoint]) -> None:
        """History from the store, ordered by (step, attempt)."""
        for point in points:
            if point.tokens is not None:
                self._measured(point)
            if point.eval_supervised_tokens is not None:
                self.version += self.eval_loss.put(point.step, point.eval_loss)

    def add_record(self, record: JournalRecord) -> None:
        """What just happened; records that measure nothing change nothing."""
        match record.event:
            case Metrics() as event:
                self._measured(event)
            case Evaluation(step=step, loss=loss):
                self.version += self.eval_loss.put(step, loss)
            case CheckpointCommitted(step=step):
                self._mark(self.checkpoints, step)
            case Resumed(step=step):
                self._mark(self.resumes, step)

    def _measured(self, at: Metrics | MetricsPoint) -> None:
        self.version += self.loss.put(at.step, at.loss)
        self.version += self.grad_norm.put(at.step, at.grad_norm)
        self.version += self.learning_rate.put(at.step, at.learning_rate)

    def _mark(self, marks: list[int], step: int) -> None:
        if step not in marks:
            insort(marks, step)
            self.version += 1


def decimate(steps: Sequence[int], values: Sequence[float], buckets: int) -> Points:
    """At most 2 * buckets + 2 of the points, chosen so that the drawn curve looks the same.

    Each bucket gives its smallest and its largest value in the order of their steps, or a gap if
    it holds nothing else; the first and the last point stay. Few points come back as they are.
    """
    return _decimate(steps, values, buckets, 0, {})


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """The exponential moving average, debiased as TensorBoard and W&B do; NaN stays a gap."""
    smoothed: list[float] = []
    _Average(weight).extend(smoothed, values)
    return smoothed


class _Average:
    """A debiased exponential moving average that goes on where it stopped."""

    def __init__(self, weight: float) -> None:
        if not 0 <= weight < 1:
            raise ValueError(f"the weight of the past is from 0 to below 1, not {weight}")
        self.weight = weight
        self._mean = 0.0
        self._count = 0
        self._unbiased_at = 1
        if weight > 0:
            self._unbiased_at += math.ceil(math.log(_NO_BIAS) / math.log(weight))

    def extend(self, smoothed: list[float], values: Sequence[float]) -> None:
        """Append what is missing: the averages at values[len(smoothed):]."""
        mean, count, new_weight = self._mean, self._count, 1 - self.weight
        for value in values[len(smoothed) :]:
            if value != value:
                smoothed.append(math.nan)
                continue
            count += 1
            share = new_weight
            if count < self._unbiased_at:
                share /= 1 - self.weight**count
            mean = value if share == 1 else mean + share * (value - mean)
            smoothed.append(mean)
        self._mean, self._count = mean, count

    def go_back(self, smoothed: Sequence[float]) -> None:
        """To where `smoothed` was all there was."""
        known = (value for value in smoothed if value == value)
        # Past that many points the count makes no difference.
        self._count = sum(1 for _ in islice(known, self._unbiased_at))
        self._mean = next((value for value in reversed(smoothed) if value == value), 0.0)


class _Buckets:
    """The extremes of full buckets, kept from one drawing to the next."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._seen = len(curve.rewrites)
        self._size = 0
        self._known: dict[int, tuple[int, ...]] = {}

    def decimate(self, values: Sequence[float], buckets: int, start: int) -> Points:
        size = _bucket_size(len(values) - start, buckets)
        standing = self._curve.unchanged(self._seen) // size
        self._seen = len(self._curve.rewrites)
        if size != self._size:
            self._size, self._known = size, {}
        for number in [number for number in self._known if number >= standing]:
            del self._known[number]
        return _decimate(self._curve.steps, values, buckets, start, self._known)


def _decimate(
    steps: Sequence[int],
    values: Sequence[float],
    buckets: int,
    start: int,
    known: dict[int, tuple[int, ...]],
) -> Points:
    """`decimate` from index `start` on; `known` has the extremes of full buckets by number."""
    end = len(values)
    if end - start <= 2 * buckets + 2:
        return list(steps[start:]), list(values[start:])
    size = _bucket_size(end - start, buckets)
    kept = [start]
    for number in range(start // size, (end - 1) // size + 1):
        extremes = known.get(number)
        if extremes is None:
            first, last = max(start, number * size), min((number + 1) * size, end)
            extremes = _extremes(values, first, last)
            if last - first == size:
                known[number] = extremes
        kept += extremes
    kept.append(end - 1)
    if kept[1] == start:
        del kept[0]
    if kept[-2] == end - 1:
        del kept[-1]
    return [steps[index] for index in kept], [values[index] for index in kept]


def _bucket_size(points: int, buckets: int) -> int:
    """Points to a bucket: 1, 2, 3, 4, 6, 8, 12 ...

    Sizes are few and buckets begin at multiples of them, so that a new point changes only the last
    bucket: the picture of a growing curve does not flicker, and full buckets can be kept.
    """
    size = 1
    while size * buckets < points:
        is_power_of_two = size & (size - 1) == 0
        size = max(2, size * 3 // 2) if is_power_of_two else size // 3 * 4
    return size


def _extremes(values: Sequence[float], first: int, last: int) -> tuple[int, ...]:
    """Indexes of the smallest and the largest of values[first:last], in order."""
    bucket = values[first:last]
    low, high = min(bucket), max(bucket)
    # No comparison with NaN holds, so min() and max() pass over it unless it comes first.
    if low != low:
        known = [value for value in bucket if value == value]
        if not known:
            return (first,)
        low, high = min(known), max(known)
    low_at, high_at = first + bucket.index(low), first + bucket.index(high)
    if low_at == high_at:
        return (low_at,)
    return (low_at, high_at) if low_at < high_at else (high_at, low_at)


def _number_or_gap(value: float | None) -> float:
    return float(value) if value is not None and abs(value) < _TOO_LARGE else math.nan


def _is_same(one: float, other: float) -> bool:
    return one == other or (one != one and other != other)
