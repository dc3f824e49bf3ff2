"""Days and months in which money is counted: both are UTC's, as the provider's bill is.

Knows no machine and no price.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment up to, and without, another; empty where it ends before it begins."""

    since: datetime
    until: datetime

    @property
    def hours(self) -> float:
        """Never below 0, whatever a clock that was set back says."""
        return max((self.until - self.since).total_seconds(), 0.0) / 3600

    def within(self, other: Span) -> Span:
        """What both have in common."""
        return Span(max(self.since, other.since), min(self.until, other.until))

    def days(self) -> Iterator[tuple[date, Span]]:
        """Its part of every UTC day that it touches, in order."""
        since = self.since.astimezone(UTC)
        while since < self.until:
            midnight = day_span(since.date()).until
            yield since.date(), Span(since, min(midnight, self.until))
            since = midnight


def day_span(day: date) -> Span:
    """The whole UTC day."""
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Span(since, since + timedelta(days=1))


def month_of(moment: datetime) -> str:
    """`2026-11`: the UTC month, as overrides and notices name it."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def month_span(moment: datetime) -> Span:
    """The whole UTC month in which the moment lies."""
    at = moment.astimezone(UTC)
    since = datetime(at.year, at.month, 1, tzinfo=UTC)
    later = since + timedelta(days=31)
    return Span(since, datetime(later.year, later.month, 1, tzinfo=UTC))
