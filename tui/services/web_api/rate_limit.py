"""Token buckets, one for each caller, in bounded memory. Pure: the clock is passed in."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from tui.services.web_api.settings import Rate

_MOST_CALLERS = 10_000
"""About 2 MB. Who has not called for longest is forgotten, and begins anew with a full bucket."""


class RateLimit:
    """Who calls too often is told how long to wait."""

    def __init__(
        self,
        rate: Rate,
        clock: Callable[[], float] = time.monotonic,
        most_callers: int = _MOST_CALLERS,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._most_callers = most_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Caller -> (requests that are left, when that was so)."""

    def wait_s(self, caller: str) -> float:
        """Take one request; 0 if it may pass, else the seconds after which one will."""
        now = self._clock()
        left, since = self._buckets.pop(caller, (float(self._rate.burst), now))
        left = min(left + (now - since) * self._rate.per_second, float(self._rate.burst))
        passes = left >= 1
        self._buckets[caller] = (left - 1 if passes else left, now)
        while len(self._buckets) > self._most_callers:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1 - left) / self._rate.per_second

    def __len__(self) -> int:
        return len(self._buckets)
