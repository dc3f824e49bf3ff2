"""How fast bytes move, and how long the rest takes. Pure; the clock's reading is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_WINDOW_S = 15.0
_SHORTEST_S = 0.2
"""A rate over less is chance."""


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """One look at an upload."""

    sent_bytes: int
    """What the server has, or is getting."""
    size_bytes: int
    bytes_per_s: float | None
    """Over the last 15 s; None where that cannot be said yet."""

    @property
    def eta_s(self) -> float | None:
        """Until the end at this rate; None where nothing moves."""
        if not self.bytes_per_s:
            return None
        return (self.size_bytes - self.sent_bytes) / self.bytes_per_s


class Rate:
    """Bytes per second over the last few seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, sent_bytes: int) -> None:
        """A total so far; a smaller one than before begins anew."""
        if self._seen and sent_bytes < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now_s, sent_bytes))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= _WINDOW_S:
            self._seen.popleft()

    @property
    def bytes_per_s(self) -> float | None:
        """None before enough was seen."""
        if not self._seen:
            return None
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        if last_s - first_s < _SHORTEST_S:
            return None
        return (last - first) / (last_s - first_s)
