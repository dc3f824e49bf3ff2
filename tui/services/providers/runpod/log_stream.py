"""Log lines from a stream of server-sent events, whole across dropped connections.

The decoder is pure: bytes in, events out. RunPod's events have an `id` that a later request sends
back as Last-Event-ID, and `data` in JSON: {"source", "line", "ts"}. Whether the stream then begins
with that event or after it is not documented, so what was seen of the last id is left out once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

LONGEST_LINE_BYTES = 256 * 1024
"""Of the stream; what is longer is cut, since a program in the container decides its length."""

MOST_LINES_OF_ONE_ID = 5000
"""That are remembered; as many as the API sends again at most."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line of a log."""

    event_id: str | None
    line: str


@dataclass(slots=True)
class EventDecoder:
    """Events from bytes that come in pieces of any size."""

    _line: bytearray = field(default_factory=bytearray)
    _id: str | None = None
    _data: list[str] = field(default_factory=list)

    def feed(self, piece: bytes) -> list[LogEvent]:
        """The events that `piece` completes."""
        events = []
        *complete, rest = piece.split(b"\n")
        for part in complete:
            self._append(part)
            event = self._take_line(bytes(self._line).removesuffix(b"\r"))
            self._line.clear()
            if event is not None:
                events.append(event)
        self._append(rest)
        return events

    def _append(self, part: bytes) -> None:
        self._line += part[: LONGEST_LINE_BYTES - len(self._line)]

    def _take_line(self, raw: bytes) -> LogEvent | None:
        if not raw:
            return self._dispatch()
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self._id = value
        elif name == "data":
            self._data.append(value)
        return None

    def _dispatch(self) -> LogEvent | None:
        data, self._data = "\n".join(self._data), []
        if not data:
            return None
        try:
            body = json.loads(data)
        except ValueError:
            # A line that was cut: its beginning is better than nothing.
            return LogEvent(self._id, data[:LONGEST_LINE_BYTES])
        line = body.get("line") if isinstance(body, dict) else None
        return LogEvent(self._id, line) if isinstance(line, str) else None


@dataclass(slots=True)
class Resumption:
    """Where a stream is taken up again, and which lines of it were seen before."""

    last_id: str | None = None
    _seen: list[str] = field(default_factory=list)
    """Lines of the last id: several may share one."""
    _to_skip: list[str] = field(default_factory=list)

    def reconnect(self) -> dict[str, str]:
        """Headers of the next request."""
        self._to_skip = list(self._seen)
        return {} if self.last_id is None else {"Last-Event-ID": self.last_id}

    def is_new(self, event: LogEvent) -> bool:
        """Takes note of it."""
        if event.event_id == self.last_id and self._to_skip[:1] == [event.line]:
            self._to_skip.pop(0)
            return False
        self._to_skip = []
        if event.event_id != self.last_id:
            self.last_id = event.event_id
            self._seen = []
        if len(self._seen) < MOST_LINES_OF_ONE_ID:
            self._seen.append(event.line)
        return True
