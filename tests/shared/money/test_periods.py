from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from shared.money.periods import Span, month_of, month_span

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def test_a_span_over_midnight_is_split_by_utc_days() -> None:
    span = Span(NOON, NOON + timedelta(hours=37))

    days = [(day, part.hours) for day, part in span.days()]

    assert days == [
        (date(2026, 11, 30), 12.0),
        (date(2026, 12, 1), 24.0),
        (date(2026, 12, 2), 1.0),
    ]


def test_days_are_utcs_wherever_the_moment_was_written_down() -> None:
    here = timezone(timedelta(hours=9))
    evening = datetime(2026, 12, 1, 8, 0, tzinfo=here)  # 23:00 UTC of the day before.

    assert [day for day, _ in Span(evening, evening + timedelta(hours=2)).days()] == [
        date(2026, 11, 30),
        date(2026, 12, 1),
    ]
    assert month_of(evening) == "2026-11"


@pytest.mark.parametrize("day", [1, 15, 31])
def test_a_month_ends_where_the_next_one_begins(day: int) -> None:
    december = month_span(datetime(2026, 12, day, 5, tzinfo=UTC))

    assert december == Span(datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert month_span(december.until).since == december.until


def test_a_span_that_ends_before_it_begins_has_no_hours_and_no_days() -> None:
    span = Span(NOON, NOON - timedelta(hours=1))

    assert span.hours == 0.0
    assert list(span.days()) == []
