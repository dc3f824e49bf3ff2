"""What a person is told of, as values: the kinds, what is told unasked, and quiet hours.

Knows neither a store nor a way to reach anybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.errors import InvalidInput


class NotificationKind(StrEnum):
    """What has happened."""

    QUEUED = "queued"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """A rented machine was lost; the job goes on by itself."""
    QUESTION = "question"
    """A rented job waits for an answer."""
    MACHINE_LEFT = "machine_left"
    """A machine does not end, and is paid for."""
    BUDGET = "budget"
    """A share of a job's budget is spent, or will be exceeded."""
    MONTH = "month"
    """A share of the monthly limit is spent."""
    ARTIFACT = "artifact"
    """An adapter is in the web application's storage, read back and verified."""
    DATASET = "dataset"
    """A training file has come from the web application, or went there."""


DEFAULT_KINDS = frozenset(
    {
        NotificationKind.COMPLETED,
        NotificationKind.FAILED,
        NotificationKind.INTERRUPTED,
        NotificationKind.QUESTION,
        NotificationKind.MACHINE_LEFT,
        NotificationKind.BUDGET,
        NotificationKind.MONTH,
    }
)
"""What deserves a person's attention while nobody looks at the console."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One event; the id is made of what happened, so that it is told once whoever finds it."""

    id: str
    kind: NotificationKind
    time: datetime
    title: str
    """One clean line."""
    body: str
    """Clean; "" where the title says all."""
    job_id: str | None = None
    is_urgent: bool = False
    """Told in quiet hours too."""


_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of day to another, in a place's own time, summer or winter."""

    begin: time
    end: time
    zone: ZoneInfo

    def holds(self, moment: datetime) -> bool:
        """True from `begin` on, up to `end`; over midnight where that is the earlier one."""
        now = moment.astimezone(self.zone).time()
        if self.begin < self.end:
            return self.begin <= now < self.end
        return now >= self.begin or now < self.end

    def __str__(self) -> str:
        """As `quiet_hours` reads it."""
        return f"{self.begin:%H:%M}-{self.end:%H:%M} {self.zone.key}"


def quiet_hours(text: str) -> QuietHours | None:
    """`22:00-07:00 Europe/Berlin`; None for "".

    Raises:
        InvalidInput: no such hours or time zone.
    """
    if not text.strip():
        return None
    hours, _, zone = text.strip().partition(" ")
    match = _HOURS.fullmatch(hours)
    if match is None:
        raise InvalidInput(f"quiet hours {hours!r}: write them as 22:00-07:00.")
    first_hour, first_minute, last_hour, last_minute = map(int, match.groups())
    begin, end = time(first_hour, first_minute), time(last_hour, last_minute)
    if begin == end:
        raise InvalidInput(f"quiet hours {hours}: they must end at another time than they begin.")
    try:
        return QuietHours(begin, end, ZoneInfo(zone.strip() or "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"time zone {zone.strip()!r}: is not known; such as Europe/Berlin, or UTC."
        ) from error
