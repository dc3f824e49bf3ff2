"""One job as the agent knows it: its spec, its attempts' journals, and the state they fold to.

Watchers are cursors: they ask for the lines after (attempt, seq) and wait for `changed`; there is
no queue for each, so none can hold the writer up. It starts no process and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Self, TypeVar

from agent.fence import Fence
from agent.journal import Entry, Journal
from agent.run_directory import JobDirectory
from shared.events import AttemptEnded, Event, JournalRecord, utc_now
from shared.job_spec import JobSpec
from shared.job_state import JobState, fold

Cursor = tuple[int, int]
"""(attempt, seq) of the last record seen; (0, 0) before the first."""

EventKind = TypeVar("EventKind")

_LARGEST_BATCH_BYTES = 1 << 18
"""200 lines of metrics take 60 kB; a single line may have as much as the trainer's."""


class Job:
    """Spec, journals and state; make one with `Job.open`. One task writes, anybody reads."""

    def __init__(self, directory: JobDirectory, spec: JobSpec, fence: Fence | None = None) -> None:
        self.directory = directory
        self._fence = fence
        self.spec = spec
        self.state = JobState()
        self.changed = asyncio.Event()
        """Set at the next record; then another event takes its place."""
        self._journals: dict[int, Journal] = {}
        self._last_events: dict[tuple[int, type], Event] = {}

    @classmethod
    def open(cls, directory: JobDirectory, fence: Fence | None = None) -> Self:
        """Read a job back from its directory. Blocks.

        With a fence nothing is written once another machine has taken over.

        Raises:
            ProtocolError: a journal is damaged before its last lines.
        """
        job = cls(directory, directory.read_spec(), fence)
        for attempt in directory.attempts():
            if attempt.journal_path.exists():
                job._take_in(job.journal(attempt.number).read())
        return job

    def journal(self, attempt: int) -> Journal:
        """The journal of an attempt, opened or created at the first call, which blocks."""
        if attempt not in self._journals:
            path = self.directory.attempt(attempt).journal_path
            self._journals[attempt] = Journal.open(path, self.spec.job_id, attempt)
        return self._journals[attempt]

    def current_attempt(self) -> int:
        """The attempt to be worked on: the latest, or the one after it if that has ended."""
        attempts = self.directory.attempts()
        latest = attempts[-1].number if attempts else 0
        has_ended = latest == 0 or self.last_event(latest, AttemptEnded) is not None
        return latest + 1 if has_ended else latest

    def last_event(self, attempt: int, kind: type[EventKind]) -> EventKind | None:
        """The latest event of this kind in the attempt's journal."""
        event = self._last_events.get((attempt, kind))
        assert event is None or isinstance(event, kind)
        return event

    def last_events(self, attempt: int, kinds: Iterable[type[Event]]) -> list[Event]:
        """The latest event of each of these kinds, in their order."""
        found = (self._last_events.get((attempt, kind)) for kind in kinds)
        return [event for event in found if event is not None]

    async def append(self, attempt: int, entries: Sequence[Entry]) -> None:
        """Write to the attempt's journal, then let every watcher know.

        Raises:
            MachineReplaced: another machine writes the job's journals now.
        """
        self._take_in(await asyncio.to_thread(self._write, attempt, entries))
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def record(self, attempt: int, event: Event) -> None:
        """Write one event of the agent's own."""
        trainer_offset = self.journal(attempt).trainer_offset
        await self.append(attempt, [Entry(event, utc_now(), trainer_offset)])

    def lines_after(self, cursor: Cursor, limit: int) -> tuple[list[bytes], Cursor]:
        """At most `limit` lines strictly after `cursor`, and the cursor after them. Blocks.

        Fewer where they are long: what a watcher takes at once is what the agent holds for it.
        """
        for attempt in sorted(self._journals):
            if attempt >= cursor[0]:
                after_seq = cursor[1] if attempt == cursor[0] else 0
                journal = self._journals[attempt]
                if lines := journal.read_lines(after_seq, limit, _LARGEST_BATCH_BYTES):
                    return lines, (attempt, after_seq + len(lines))
        return [], cursor

    async def follow(self, cursor: Cursor, limit: int) -> AsyncIterator[list[bytes]]:
        """Batches of lines after `cursor`; ends after the last line of a job that is final."""
        while True:
            # Both are taken before the look: what is written after it is then not slept over.
            changed, was_final = self.changed, self.state.status.is_final
            lines, cursor = await asyncio.to_thread(self.lines_after, cursor, limit)
            if lines:
                yield lines
            elif was_final:
                return
            else:
                await changed.wait()

    def close(self) -> None:
        """Close the journals; nothing can be read afterwards."""
        for journal in self._journals.values():
            journal.close()

    def _write(self, attempt: int, entries: Sequence[Entry]) -> list[JournalRecord]:
        journal = self.journal(attempt)
        if self._fence is not None:
            self._fence.check()
        return journal.append(entries)

    def _take_in(self, records: Iterable[JournalRecord]) -> None:
        records = list(records)
        self.state = fold(records, self.state)
        for record in records:
            self._last_events[record.attempt, type(record.event)] = record.event
