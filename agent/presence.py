"""Whether anybody with the token is asking the agent for something, or since when nobody is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


def _uptime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Presence:
    """Requests and websockets that are open now, and when the last one ended."""

    def __init__(self, clock: Callable[[], float] = _uptime_s) -> None:
        self._clock = clock
        self._open = 0
        self._last_s = clock()

    @property
    def idle_s(self) -> float:
        """Since the end of the last request, or since our own beginning; 0 while one is open."""
        return 0.0 if self._open else self._clock() - self._last_s

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """While inside, somebody is there."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._last_s = self._clock()
