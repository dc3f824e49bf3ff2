from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import events
from shared.store.stored import MetricsPoint
from tui.views.curves import Curve, SmoothedCurve, TrainingCurves, decimate, smooth

ANY_FLOAT = st.floats() | st.sampled_from([1e300, -1e300, 5e-324, -5e-324, 0.0, -0.0, 1e12])
MEASURED = st.none() | ANY_FLOAT
PUTS = st.lists(st.tuples(st.integers(0, 300), MEASURED), max_size=120)
NUMBERS = st.lists(st.just(math.nan) | st.floats(-1e11, 1e11), max_size=400)


def known(values: list[float]) -> list[float]:
    return [value for value in values if value == value]


def alike(one: list[float], other: list[float]) -> bool:
    return repr(one) == repr(other)


# --- put --------------------------------------------------------------------------------------


@given(PUTS)
def test_a_curve_holds_the_latest_value_of_each_step_in_order(
    puts: list[tuple[int, float | None]],
) -> None:
    curve = Curve()
    for step, value in puts:
        curve.put(step, value)

    latest = dict(puts)
    assert curve.steps == sorted(latest)
    for step, value in zip(curve.steps, curve.values, strict=True):
        expected = latest[step]
        if expected is None or not math.isfinite(expected) or abs(expected) >= 1e12:
            assert math.isnan(value)
        else:
            assert value == expected


def test_the_same_value_again_is_no_change() -> None:
    curve = Curve()
    assert curve.put(1, 2.0)
    assert not curve.put(1, 2.0)
    assert curve.put(1, None)
    assert not curve.put(1, math.nan)
    assert curve.rewrites == [0]


# --- decimate ---------------------------------------------------------------------------------


@given(NUMBERS, st.integers(1, 40))
def test_decimating_keeps_the_extremes_the_ends_and_the_order(
    values: list[float], buckets: int
) -> None:
    steps = [3 * index for index in range(len(values))]
    fewer_steps, fewer = decimate(steps, values, buckets)

    assert len(fewer_steps) == len(fewer) <= 2 * buckets + 2
    assert all(before < after for before, after in pairwise(fewer_steps))
    assert alike([values[step // 3] for step in fewer_steps], fewer)
    if values:
        assert (fewer_steps[0], fewer_steps[-1]) == (steps[0], steps[-1])
    if known(values):
        assert min(known(fewer)) == min(known(values))
        assert max(known(fewer)) == max(known(values))
    if len(values) <= 2 * buckets + 2:
        assert alike(fewer, values)


@pytest.mark.parametrize("gap", [(0, 300), (350, 650), (700, 1000), (0, 1000)])
def test_a_long_gap_stays_a_gap(gap: tuple[int, int]) -> None:
    values = [math.sin(index) for index in range(1000)]
    values[slice(*gap)] = [math.nan] * (gap[1] - gap[0])
    steps, fewer = decimate(range(1000), values, 20)

    inside = [value for step, value in zip(steps, fewer, strict=True) if gap[0] <= step < gap[1]]
    assert inside
    assert not known(inside)


def test_a_spike_among_a_million_points_is_kept() -> None:
    values = [1.0] * 1_000_000
    values[0] = values[654_321 - 1] = math.nan
    values[654_321] = 9.0
    steps, fewer = decimate(range(1_000_000), values, 240)
    assert (654_321, 9.0) in zip(steps, fewer, strict=True)
    assert len(fewer) <= 482


def test_a_new_point_leaves_the_full_buckets_as_they_are() -> None:
    values = [math.sin(index * index) for index in range(1001)]
    before, _ = decimate(range(1000), values[:1000], 50)
    after, _ = decimate(range(1001), values, 50)
    assert before[:-3] == after[: len(before) - 3]


@given(PUTS, PUTS, st.integers(1, 30), st.integers(0, 150))
def test_a_curve_that_was_drawn_before_decimates_as_one_that_was_not(
    puts: list[tuple[int, float | None]],
    later: list[tuple[int, float | None]],
    buckets: int,
    start: int,
) -> None:
    drawn, fresh = Curve(), Curve()
    for step, value in puts:
        drawn.put(step, value)
        fresh.put(step, value)
    drawn.decimated(buckets, min(start, len(drawn.steps)))
    for step, value in later:
        drawn.put(step, value)
        fresh.put(step, value)
        drawn.decimated(buckets, min(start, len(drawn.steps)))

    start = min(start, len(fresh.steps))
    steps, values = drawn.decimated(buckets, start)
    expected_steps, expected = fresh.decimated(buckets, start)
    assert steps == expected_steps
    assert alike(values, expected)


# --- smooth -----------------------------------------------------------------------------------


@given(NUMBERS, st.floats(0, 0.999))
def test_smoothing_stays_within_the_values_and_keeps_gaps(
    values: list[float], weight: float
) -> None:
    smoothed = smooth(values, weight)
    assert [math.isnan(value) for value in smoothed] == [math.isnan(value) for value in values]
    if known(values):
        low, high = min(known(values)), max(known(values))
        room = 1e-9 * max(abs(low), abs(high))
        assert all(low - room <= value <= high + room for value in known(smoothed))


def test_smoothing_is_the_debiased_average_of_tensorboard() -> None:
    values = [8.0, 6.0, math.nan, 7.0, 5.0]
    last, expected = 0.0, []
    for count, value in enumerate([8.0, 6.0, 7.0, 5.0], start=1):
        last = last * 0.6 + 0.4 * value
        expected.append(last / (1 - 0.6**count))
    assert known(smooth(values, 0.6)) == pytest.approx(expected)
    assert smooth([8.0, 6.0], 0) == [8.0, 6.0]


@pytest.mark.parametrize("weight", [-0.1, 1.0, 2.0, math.nan])
def test_a_weight_outside_its_range_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="below 1"):
        smooth([], weight)


@given(PUTS, st.sampled_from([0.0, 0.01, 0.6, 0.99, 0.999]))
def test_smoothing_step_by_step_is_smoothing_from_scratch(
    puts: list[tuple[int, float | None]], weight: float
) -> None:
    curve = Curve()
    smoothed = SmoothedCurve(curve, weight)
    for step, value in puts:
        curve.put(step, value)
        assert len(smoothed.values) == len(curve.steps)
    assert alike(smoothed.values, smooth(curve.values, weight))


def test_smoothing_goes_on_from_a_replaced_step_where_no_bias_is_left() -> None:
    curve = Curve()
    smoothed = SmoothedCurve(curve, 0.6)
    for step in range(500):
        curve.put(step, math.sin(step))
    assert len(smoothed.values) == 500
    for step in range(400, 520):
        curve.put(step, math.cos(step) if step % 7 else None)
    assert alike(smoothed.values, smooth(curve.values, 0.6))


def test_another_weight_smooths_everything_anew() -> None:
    curve = Curve()
    smoothed = SmoothedCurve(curve)
    for step, value in enumerate([3.0, 1.0, 2.0]):
        curve.put(step, value)
    assert smoothed.values == smooth([3.0, 1.0, 2.0], 0.6)
    smoothed.weight = 0.9
    assert smoothed.values == smooth([3.0, 1.0, 2.0], 0.9)
    assert smoothed.steps == [0, 1, 2]


# --- of one training --------------------------------------------------------------------------


def record(event: events.Event) -> events.JournalRecord:
    return events.JournalRecord(
        job_id="j", attempt=1, seq=1, time=datetime.now(UTC), trainer_offset=0, event=event
    )


def metrics(step: int, loss: float | None) -> events.JournalRecord:
    event = events.Metrics(
        step=step,
        epoch=0.1,
        loss=loss,
        grad_norm=1.5,
        learning_rate=1e-4,
        tokens=10,
        supervised_tokens=5,
        step_s=1.0,
    )
    return record(event)


def point(step: int, attempt: int = 1, **measured: float | int | None) -> MetricsPoint:
    nothing: dict[str, None] = dict.fromkeys(
        (
            "loss",
            "grad_norm",
            "learning_rate",
            "tokens",
            "supervised_tokens",
            "step_s",
            "memory_bytes",
            "eval_loss",
            "eval_supervised_tokens",
        )
    )
    values = {"attempt": attempt, "step": step, "time": datetime.now(UTC), "epoch": 0.1}
    return MetricsPoint(**(values | nothing | measured))  # type: ignore[arg-type]


def test_history_and_records_meet_in_one_curve() -> None:
    curves = TrainingCurves()
    curves.add_points(
        [
            point(0, eval_loss=9.0, eval_supervised_tokens=7),
            point(1, tokens=10, loss=8.0, grad_norm=2.0, learning_rate=1e-5),
            point(2, tokens=10, loss=None, grad_norm=None, learning_rate=2e-5),
            point(2, attempt=2, tokens=10, loss=7.5, grad_norm=1.0, learning_rate=2e-5),
        ]
    )
    curves.add_record(metrics(3, 7.0))
    curves.add_record(metrics(2, 7.25))
    curves.add_record(record(events.Evaluation(step=3, epoch=0.2, loss=7.5, supervised_tokens=9)))

    assert curves.loss.steps == [1, 2, 3]
    assert curves.loss.values == [8.0, 7.25, 7.0]
    assert curves.grad_norm.values == [2.0, 1.5, 1.5]
    assert curves.learning_rate.values == [1e-5, 1e-4, 1e-4]
    assert (curves.eval_loss.steps, curves.eval_loss.values) == ([0, 3], [9.0, 7.5])
    assert curves.smoothed.steps == [1, 2, 3]


def test_marks_are_sorted_and_stand_once() -> None:
    curves = TrainingCurves()
    for step in (40, 20, 40):
        curves.add_record(
            record(
                events.CheckpointCommitted(
                    step=step, path="p", manifest_sha256="0" * 64, size_bytes=1, seconds=1.0
                )
            )
        )
        curves.add_record(record(events.Resumed(step=step, path="p")))
    assert curves.checkpoints == curves.resumes == [20, 40]


def test_the_version_grows_with_every_change_and_with_nothing_else() -> None:
    curves = TrainingCurves()
    seen = [curves.version]
    for changes in (metrics(1, 8.0), metrics(1, 7.0), record(events.Resumed(step=1, path="p"))):
        curves.add_record(changes)
        seen.append(curves.version)
    assert all(before < after for before, after in pairwise(seen))

    curves.add_record(metrics(1, 7.0))
    curves.add_record(record(events.Resumed(step=1, path="p")))
    curves.add_record(record(events.LogLine(message="hello")))
    assert curves.version == seen[-1]
