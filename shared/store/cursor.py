"""How far a job's journal has been read: (attempt, seq), and what may come next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from shared.errors import ProtocolError
from shared.events import JournalRecord


class Cursor(NamedTuple):
    """Position of the last record that was read; (0, 0) before the first."""

    attempt: int = 0
    seq: int = 0

    def is_followed_by(self, attempt: int, seq: int) -> bool:
        """True for the next record of this attempt, and for the first of a later one."""
        if attempt == self.attempt:
            return seq == self.seq + 1
        return attempt > self.attempt and seq == 1


BEGINNING = Cursor()


def records_after(
    cursor: Cursor, job_id: str, records: Iterable[JournalRecord]
) -> list[JournalRecord]:
    """The records beyond `cursor`; those at or before it are replays and are left out.

    Raises:
        ProtocolError: a record of another job, or a gap.
    """
    fresh: list[JournalRecord] = []
    for record in records:
        position = Cursor(record.attempt, record.seq)
        if record.job_id != job_id:
            raise ProtocolError(f"{job_id}: received a record of job {record.job_id}.")
        if position <= cursor:
            continue
        if not cursor.is_followed_by(*position):
            raise ProtocolError(
                f"{job_id}: the record after (attempt {cursor.attempt}, seq {cursor.seq}) "
                f"is missing: got (attempt {position.attempt}, seq {position.seq})."
            )
        fresh.append(record)
        cursor = position
    return fresh
