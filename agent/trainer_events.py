"""Reads the file to which a trainer appends its events. It keeps nothing between calls: the
journal's `trainer_offset` says where to go on. It writes nothing and knows no journal lines.
"""

from __future__ import annotations

from pathlib import Path

from agent.journal import Entry
from shared import events
from shared.errors import ProtocolError

MAX_LINES_PER_READ = 500
"""At 50 lines a sync the journal takes 12,000 events a second (facts/transport.md, 2026-11)."""

MAX_LINE_BYTES = 1 << 20
"""A longer line is taken in pieces, each of which is then no event."""

MAX_BYTES_PER_READ = 4 << 20
"""Long lines are taken in smaller batches, so that a batch never takes much memory."""

_CLIPPED_CHARACTERS = 200

_AGENT_EVENTS = (
    events.AttemptStarted,
    events.TrainerStarted,
    events.TrainerAdopted,
    events.CancelRequested,
    events.AttemptEnded,
    events.GpuSample,
)


def read_entries(path: Path, offset: int, *, ended: bool) -> list[Entry]:
    """The next events after `offset`; a last line without its line break counts once `ended`.

    A line that is no trainer's event becomes a warning: a bad line must not stop a good run.
    """
    try:
        if path.stat().st_size <= offset:
            return []
        file = path.open("rb")
    except FileNotFoundError:
        return []
    entries: list[Entry] = []
    far = offset + MAX_BYTES_PER_READ
    with file:
        file.seek(offset)
        while len(entries) < MAX_LINES_PER_READ and offset < far:
            line = file.readline(MAX_LINE_BYTES)
            is_whole = line.endswith(b"\n") or len(line) == MAX_LINE_BYTES
            if not line or not (is_whole or ended):
                break
            offset += len(line)
            entries.append(_entry(line, offset))
    return entries


def _entry(line: bytes, offset: int) -> Entry:
    try:
        record = events.decode_trainer_record(line)
        if isinstance(record.event, _AGENT_EVENTS):
            raise ProtocolError(f"only the agent may say {record.event.kind}")
    except ProtocolError as error:
        message = f"The trainer wrote a line that is no event ({error}): {_clipped(line)}"
        return Entry(events.LogLine(level="warning", message=message), events.utc_now(), offset)
    return Entry(record.event, record.time, offset)


def _clipped(line: bytes) -> str:
    text = repr(line)
    return text if len(text) <= _CLIPPED_CHARACTERS else text[:_CLIPPED_CHARACTERS] + "…"
