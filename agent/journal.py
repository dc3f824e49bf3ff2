"""An attempt's journal: append-only JSONL, in which the line number is the sequence number.

What stands in it is durable before anybody sees it. Only the positions of lines are kept in memory;
readers read the file. It knows nothing of what the events mean. All methods block: call them off
the event loop. One writer at a time; any number of readers beside it.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from shared.errors import ProtocolError
from shared.events import Event, JournalRecord, decode_journal_record, encode
from shared.manifest import sync_directory


class Entry(NamedTuple):
    """An event that is to become a journal record."""

    event: Event
    time: datetime
    trainer_offset: int
    """Bytes of the trainer's file that are accounted for once this entry is written."""


class Journal:
    """The journal of one attempt; make one with `Journal.open`."""

    def __init__(self, descriptor: int, job_id: str, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.trainer_offset = 0
        """Bytes of the trainer's file that the journal accounts for."""
        self._descriptor = descriptor
        # The end of line n stands at index n; a line is visible to readers once its end is here.
        self._ends = array("Q", [0])

    @classmethod
    def open(cls, path: Path, job_id: str, attempt: int) -> Self:
        """Open or create the journal at `path`; what a crash left half written is cut off."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        sync_directory(path.parent)
        journal = cls(descriptor, job_id, attempt)
        journal._find_lines(path.read_bytes())
        return journal

    @property
    def last_seq(self) -> int:
        """0 while the journal is empty."""
        return len(self._ends) - 1

    def append(self, entries: Sequence[Entry]) -> list[JournalRecord]:
        """Write `entries` as the next lines, sync once, and return them as records."""
        first_seq = self.last_seq + 1
        records = [
            JournalRecord(
                job_id=self.job_id,
                attempt=self.attempt,
                seq=seq,
                time=entry.time,
                trainer_offset=entry.trainer_offset,
                event=entry.event,
            )
            for seq, entry in enumerate(entries, start=first_seq)
        ]
        lines = [encode(record).encode() + b"\n" for record in records]
        self._write_synced(b"".join(lines))
        for line in lines:
            self._ends.append(self._ends[-1] + len(line))
        if records:
            self.trainer_offset = records[-1].trainer_offset
        return records

    def read_lines(self, after_seq: int, limit: int, size_bytes: int | None = None) -> list[bytes]:
        """At most `limit` lines after `after_seq`, without their line breaks.

        With `size_bytes` no more than that in all, but at least one line if there is one.
        """
        last = min(self.last_seq, after_seq + limit)
        if last <= after_seq:
            return []
        if size_bytes is not None:
            far = self._ends[after_seq] + size_bytes
            last = bisect_right(self._ends, far, after_seq + 2, last + 1) - 1
        start, end = self._ends[after_seq], self._ends[last]
        return os.pread(self._descriptor, end - start, start).splitlines()

    def read(self, after_seq: int = 0) -> list[JournalRecord]:
        """The records after `after_seq`.

        Raises:
            ProtocolError: a line that is damaged, or is not of this journal.
        """
        records = []
        lines = self.read_lines(after_seq, limit=self.last_seq)
        for seq, line in enumerate(lines, start=after_seq + 1):
            record = decode_journal_record(line)
            if (record.job_id, record.attempt, record.seq) != (self.job_id, self.attempt, seq):
                raise ProtocolError(
                    f"line {seq} of the journal of {self.job_id}, attempt {self.attempt}, says it "
                    f"is {record.job_id}, attempt {record.attempt}, line {record.seq}"
                )
            records.append(record)
        return records

    def close(self) -> None:
        """Nothing can be read or written afterwards."""
        os.close(self._descriptor)

    def _find_lines(self, content: bytes) -> None:
        end = 0
        for line in content.splitlines(keepends=True):
            end += len(line)
            self._ends.append(end)
        # Everything up to the last sync decodes; after a crash of the machine what follows may not.
        while self.last_seq > 0:
            last = _decoded(content[self._ends[-2] : self._ends[-1]])
            if last is not None:
                self.trainer_offset = last.trainer_offset
                break
            self._ends.pop()
        os.ftruncate(self._descriptor, self._ends[-1])

    def _write_synced(self, content: bytes) -> None:
        position = self._ends[-1]
        # An append that failed half way, on a full disk, may have left bytes behind.
        os.ftruncate(self._descriptor, position)
        view = memoryview(content)
        while view:
            written = os.pwrite(self._descriptor, view, position)
            position += written
            view = view[written:]
        # Durable before any console sees it: after a restart, "after=41" must find 42.
        os.fdatasync(self._descriptor)


def _decoded(line: bytes) -> JournalRecord | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return decode_journal_record(line)
    except ProtocolError:
        return None
