"""How far a model is on its way, said every few seconds while it moves.

What does not move says nothing, so that a watchdog can tell. Several threads may count.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from shared.events import ModelProgress

What = Literal["downloading", "quantising", "verifying", "loading"]
Say = Callable[[ModelProgress], None]

EVERY_S = 5.0
RATE_OVER_S = 60.0


class Progress:
    """Counts bytes of one undertaking; as a context it reports from a thread of its own."""

    def __init__(
        self,
        say: Say,
        what: What,
        total_bytes: int,
        done_bytes: int = 0,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report, name="model progress", daemon=True)
        self._what = what
        self._total = total_bytes
        self._done = done_bytes
        self._file = ""
        self._seen = deque([(clock(), done_bytes)])
        self._said: tuple[object, ...] = ()

    def __enter__(self) -> Self:
        self.say_if_moved()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self.say_if_moved()

    def add(self, size_bytes: int) -> None:
        """So many bytes more; fewer, if they count no more."""
        with self._lock:
            self._done = max(self._done + size_bytes, 0)

    def works_on(self, file: str) -> None:
        """Name the file that is at work now."""
        with self._lock:
            self._file = file

    def begin(self, what: What, total_bytes: int, done_bytes: int = 0) -> None:
        """The next undertaking; what was counted before is over."""
        with self._lock:
            self._what, self._total, self._done = what, total_bytes, done_bytes
            self._seen = deque([(self._clock(), done_bytes)])
        self.say_if_moved()

    def now(self) -> ModelProgress:
        """How it stands."""
        with self._lock:
            at = self._clock()
            self._seen.append((at, self._done))
            while len(self._seen) > 2 and at - self._seen[0][0] > RATE_OVER_S:
                self._seen.popleft()
            since, before = self._seen[0]
            rate = (self._done - before) / (at - since) if at > since else 0.0
            left = max(self._total - self._done, 0)
            return ModelProgress(
                what=self._what,
                done_bytes=self._done,
                total_bytes=self._total,
                bytes_per_s=rate if rate > 0 else None,
                eta_s=left / rate if rate > 0 and self._total else None,
                file=self._file,
            )

    def say_if_moved(self) -> None:
        """Say how it stands, unless that was said."""
        now = self.now()
        stand = (now.what, now.done_bytes, now.file)
        if stand != self._said:
            self._said = stand
            self._say(now)

    def _report(self) -> None:
        while not self._over.wait(self._every_s):
            self.say_if_moved()
