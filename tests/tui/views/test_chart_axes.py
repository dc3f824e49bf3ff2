from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tui.views.chart_axes import Axis, Label, decimals, scientific, step_axis, value_axis

VALUES = st.lists(
    st.just(math.nan) | st.floats(-1e12, 1e12) | st.sampled_from([5e-324, 1e-310, 0.0, 1e12]),
    min_size=1,
    max_size=30,
)
LABELS: st.SearchStrategy[Label] = st.sampled_from([decimals(4), decimals(1), scientific])


def words(axis: Axis | None) -> list[str]:
    assert axis is not None
    return [label for _, label in axis.ticks]


@given(VALUES, st.integers(1, 20), st.booleans(), LABELS)
def test_every_value_stands_on_its_axis_or_nowhere(
    values: list[float], most_ticks: int, is_log: bool, label: Label
) -> None:
    axis = value_axis(values, most_ticks, is_log, label)
    standing = [value for value in values if value == value and (value >= 1e-300 or not is_log)]
    assert (axis is None) == (not standing)
    if axis is None:
        return
    assert all(0 <= axis.position(value) <= 1 for value in standing)
    assert all(math.isnan(axis.position(v)) for v in values if v not in standing)
    places = [place for place, _ in axis.ticks]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    # Ticks stand on rows of their own, so few more than were asked for do no harm.
    assert len(places) <= max(most_ticks, 2) + 2
    assert all(len(words) <= 20 for _, words in axis.ticks)


def test_labels_of_a_loss_have_four_decimals_and_more_where_they_would_look_the_same() -> None:
    assert words(value_axis([8.1, 9.2], 4, False, decimals(4))) == ["8.5000", "9.0000"]
    assert words(value_axis([1.0, 1.00001], 3, False, decimals(4))) == [
        "1.000000",
        "1.000005",
        "1.000010",
    ]


def test_labels_of_a_log_axis_are_real_values() -> None:
    assert words(value_axis([0.1, 100], 8, True, decimals(4))) == [
        "0.1000",
        "0.3000",
        "1.0000",
        "3.0000",
        "10.0000",
        "30.0000",
        "100.0000",
    ]
    assert words(value_axis([7.0, 9.0], 4, True, decimals(4))) == ["7.0000", "8.0000", "9.0000"]


def test_labels_of_a_learning_rate_are_scientific() -> None:
    assert words(value_axis([0.0, 2e-4], 5, False, scientific)) == [
        "0",
        "5.0e-05",
        "1.0e-04",
        "1.5e-04",
        "2.0e-04",
    ]


def test_one_value_and_equal_values_stand_in_the_middle() -> None:
    for values in ([2e-4], [7.0, 7.0], [7.0, 7.0 + 1e-12], [-1e12]):
        axis = value_axis(values, 5, False, decimals(4))
        assert axis is not None
        assert 0.4 < axis.position(values[0]) < 0.6
    zero = value_axis([0.0], 5, False, decimals(4))
    assert zero is not None
    assert zero.position(0.0) == 0


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(1, 200))
def test_steps_are_whole_numbers_and_their_labels_never_touch(
    first: int, length: int, columns: int
) -> None:
    axis = step_axis(first, first + length, columns)
    assert axis.position(first) == 0
    assert axis.position(first + length) in (0, 1)
    for place, label in axis.ticks:
        assert 0 <= place <= 1
        assert round(first + place * max(length, 1)) == int(label)
    for before, after in pairwise(axis.ticks):
        assert (after[0] - before[0]) * columns > len(after[1])
