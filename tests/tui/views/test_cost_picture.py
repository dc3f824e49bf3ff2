from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.tui.views.test_costs import DAY, line, month
from tui.views.cost_picture import (
    Bar,
    Bars,
    bars_by_day,
    bars_of_month,
    draw_bars,
    legend_runs,
)


def bars(*usd: float, limit_usd: float = 1000.0, always_limit: bool = False) -> Bars:
    shown = tuple(Bar(DAY + timedelta(days=n), value) for n, value in enumerate(usd))
    return Bars("dollars", shown, limit_usd, "the limit", always_limit)


def drawn(shown: Bars, width: int = 24, height: int = 6, *, ascii_only: bool = False) -> list[str]:
    picture = draw_bars(shown, width, height, ascii_only=ascii_only)
    assert not isinstance(picture, str)
    return ["".join(words for _, words in row) for row in picture]


def test_each_day_is_a_bar_and_days_without_costs_are_too() -> None:
    lines = [line(usd=4.0), line(usd=1.0), line(usd=2.0, day=DAY - timedelta(days=2))]
    shown = bars_by_day(lines, DAY - timedelta(days=2), 3, month(), most_bars=50)
    assert [bar.usd for bar in shown.bars] == [2.0, 0.0, 5.0]
    assert shown.limit_usd == pytest.approx(500 / 30)
    assert shown.title == "dollars a day"


def test_where_there_is_no_room_some_days_are_one_bar_and_today_ends_a_whole_one() -> None:
    first = DAY - timedelta(days=9)
    lines = [line(usd=1.0, day=first + timedelta(days=n)) for n in range(10)]
    shown = bars_by_day(lines, first, 10, month(), most_bars=4)
    assert [bar.usd for bar in shown.bars] == [1.0, 3.0, 3.0, 3.0]
    assert [bar.first_day for bar in shown.bars][:2] == [first, first + timedelta(days=1)]
    assert shown.title == "dollars in 3 days"
    assert shown.limit_usd == pytest.approx(50.0)


def test_lines_of_other_days_are_left_out() -> None:
    lines = [line(day=DAY - timedelta(days=3)), line(day=DAY + timedelta(days=1)), line(usd=1.0)]
    shown = bars_by_day(lines, DAY - timedelta(days=1), 2, month(), most_bars=50)
    assert [bar.usd for bar in shown.bars] == [0.0, 1.0]


def test_the_month_adds_up_and_goes_on_at_its_pace() -> None:
    shown = bars_of_month(month(daily_usd=(10.0, 20.0), days=4, projected_usd=60.0))
    assert [(bar.usd, bar.is_expected) for bar in shown.bars] == [
        (10.0, False),
        (30.0, False),
        (45.0, True),
        (60.0, True),
    ]
    assert shown.limit_usd == 500.0
    assert shown.shows_limit  # However far away it is.


def test_a_month_that_has_just_begun_says_nothing_of_its_end() -> None:
    shown = bars_of_month(month(daily_usd=(10.0,), days=30))
    assert len(shown.bars) == 30
    assert sum(bar.usd for bar in shown.bars) == 10.0
    assert "at this pace" not in "".join(words for _, words in legend_runs(shown))


def test_bars_stand_as_high_as_they_are() -> None:
    rows = drawn(bars(4.0, 2.0, 1.0), height=10)
    heights = [sum(row[column] == "█" for row in rows) for column in (3, 10, 17)]
    assert heights[0] > heights[1] > heights[2] > 0
    assert rows[-1].split() == ["18", "Nov", "20", "Nov"]


def test_what_is_not_nothing_is_seen_and_nothing_is_not() -> None:
    lowest = drawn(bars(1000.0, 0.01, 0.0), width=30)[-3]
    assert lowest.split() == ["$0┤██████", "▁▁▁▁▁▁"]


def test_the_limit_runs_behind_the_bars() -> None:
    shown = bars(10.0, 30.0, limit_usd=20.0)
    picture = draw_bars(shown, 30, 10)
    assert not isinstance(picture, str)
    limit_row = next(row for row in picture if any(role == "limit" for role, _ in row))
    assert any(role == "bar" for role, _ in limit_row)
    assert sum(any(role == "limit" for role, _ in row) for row in picture) == 1


def test_a_limit_far_above_the_bars_does_not_press_them_down() -> None:
    far = bars(1.0, limit_usd=1000.0)
    assert not far.shows_limit
    assert "the limit" not in "".join(words for _, words in legend_runs(far))
    assert bars(1.0, limit_usd=1000.0, always_limit=True).shows_limit


@pytest.mark.parametrize("width", [20, 40, 79, 118])
@pytest.mark.parametrize("days", [7, 30, 90, 366])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_row_is_longer_than_there_is_room(width: int, days: int, ascii_only: bool) -> None:
    first = DAY - timedelta(days=days - 1)
    lines = [line(usd=n % 13 + 0.1, day=DAY - timedelta(days=n)) for n in range(days)]
    shown = bars_by_day(lines, first, days, month(), most_bars=width - 9)
    rows = drawn(shown, width, 8, ascii_only=ascii_only)
    assert len(rows) == 8
    assert max(map(len, rows)) <= width
    if ascii_only:
        assert "".join(rows).isascii()


def test_an_ascii_legend_is_ascii() -> None:
    shown = bars_of_month(month(projected_usd=225.0))
    assert "".join(words for _, words in legend_runs(shown, ascii_only=True)).isascii()


@pytest.mark.parametrize("size", [(1, 1), (5, 20), (80, 3)])
def test_without_room_there_are_words(size: tuple[int, int]) -> None:
    assert draw_bars(bars(*[1.0] * 30), *size) == "no room for the picture"


@pytest.mark.parametrize("shown", [bars(), bars(0.0, 0.0), bars_of_month(month(daily_usd=(0.0,)))])
def test_nothing_spent_is_said(shown: Bars) -> None:
    assert draw_bars(shown, 80, 10) == "nothing was paid for in this time"


@pytest.mark.parametrize("usd", [1e-9, 0.004, 1.0, 999.0, 1e6, 1e12])
def test_any_amount_can_be_drawn(usd: float) -> None:
    assert draw_bars(bars(usd, usd / 3, limit_usd=usd * 2), 80, 10) != ""


def test_days_of_a_leap_year_have_their_names() -> None:
    shown = bars_by_day([line(day=date(2028, 2, 29))], date(2028, 2, 28), 2, month(), 50)
    assert drawn(shown, 40)[-1].split() == ["28", "Feb", "29", "Feb"]
