"""The fake's own clock: what is billed and stamped follows it, and a test moves it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Goes with the machine's monotonic clock until it is advanced, or told to run faster."""

    def __init__(self) -> None:
        self._at_birth = datetime.now(UTC)
        self._anchor_s = time.monotonic()
        self._shown_s = 0.0
        self._rate = 1.0

    def now_s(self) -> float:
        """Seconds since the clock was made."""
        return self._shown_s + (time.monotonic() - self._anchor_s) * self._rate

    def advance(self, seconds: float) -> None:
        """Jump ahead."""
        self._shown_s += seconds

    def run_at(self, rate: float) -> None:
        """Let `rate` seconds pass in each real one."""
        self._shown_s = self.now_s()
        self._anchor_s = time.monotonic()
        self._rate = rate

    def utc(self, at_s: float | None = None) -> datetime:
        """The wall time, by this clock."""
        return self._at_birth + timedelta(seconds=self.now_s() if at_s is None else at_s)

    def seconds_at(self, when: datetime) -> float:
        """The clock's seconds at a wall time."""
        return (when - self._at_birth).total_seconds()


def rfc3339(when: datetime) -> str:
    """UTC to the microsecond: log lines that follow each other keep their order."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
