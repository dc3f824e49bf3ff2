"""What the job screen shows over time: from the store at first, then record by record.

The same records give the same history, whether they were read at once or came one by one; a record
that comes twice changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime

from shared.events import GpuSample, JournalRecord, Metrics, ModelProgress, RunFacts
from shared.stages import StageClock, StageTime
from shared.store.cursor import BEGINNING, Cursor
from shared.store.stored import MetricsPoint
from tui.views.curves import TrainingCurves
from tui.views.gpu_lines import HISTORY, mean_load


class JobHistory:
    """Curves, stages and the events of one job."""

    def __init__(self) -> None:
        self.curves = TrainingCurves()
        self.events: list[JournalRecord] = []
        """All but what is measured all the time, in order."""
        self.gpu_loads: deque[tuple[datetime, float]] = deque()
        """The mean load of the GPUs in percent, of the last hour."""
        self.facts: RunFacts | None = None
        self.memory_bytes: int | None = None
        self._stages = StageClock()
        self._cursor = BEGINNING

    def load(
        self,
        points: Iterable[MetricsPoint],
        events: Sequence[JournalRecord],
        cursor: Cursor,
        samples: Iterable[JournalRecord] = (),
    ) -> None:
        """Begin with what the store has up to `cursor`; what is after it comes again as news."""
        points = list(points)
        self.curves.add_points(points)
        for known in (samples, events):
            self._take_in(event for event in known if Cursor(event.attempt, event.seq) <= cursor)
        self._cursor = cursor
        if points:
            self.memory_bytes = points[-1].memory_bytes

    def extend(self, records: Iterable[JournalRecord]) -> list[JournalRecord]:
        """Go on with what came in; returns the events that are new here, without measurements."""
        fresh = [record for record in records if Cursor(record.attempt, record.seq) > self._cursor]
        if fresh:
            self._cursor = Cursor(fresh[-1].attempt, fresh[-1].seq)
        return self._take_in(fresh)

    def stage_times(self, now: datetime) -> list[StageTime]:
        """How long each stage took so far."""
        return self._stages.times(now)

    def _take_in(self, records: Iterable[JournalRecord]) -> list[JournalRecord]:
        kept = []
        for record in records:
            self.curves.add_record(record)
            if isinstance(record.event, Metrics):
                self.memory_bytes = record.event.memory_bytes
                continue
            if isinstance(record.event, GpuSample):
                self._add_load(record.time, mean_load(record.event))
                continue
            if isinstance(record.event, ModelProgress):
                continue
            if isinstance(record.event, RunFacts):
                self.facts = record.event
            kept.append(record)
        self.events += kept
        self._stages.add(kept)
        return kept

    def _add_load(self, at: datetime, load: float | None) -> None:
        if load is not None:
            self.gpu_loads.append((at, load))
        while self.gpu_loads and at - self.gpu_loads[0][0] > HISTORY:
            self.gpu_loads.popleft()
