"""Decoding of the log's event stream, and taking it up again."""

from __future__ import annotations

import json

import pytest

from tui.services.providers.runpod.log_stream import (
    LONGEST_LINE_BYTES,
    EventDecoder,
    LogEvent,
    Resumption,
)


def _event(event_id: str, line: str, end: str = "\n") -> bytes:
    data = json.dumps({"ts": event_id, "source": "container", "line": line})
    return f"id: {event_id}{end}data: {data}{end}{end}".encode()


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_events_are_whole_however_the_bytes_come(size: int, end: str) -> None:
    stream = _event("a", "one – two", end) + f": comment{end}{end}".encode() + _event("b", "", end)
    decoder = EventDecoder()

    events = [
        event
        for start in range(0, len(stream), size)
        for event in decoder.feed(stream[start : start + size])
    ]

    assert events == [LogEvent("a", "one – two"), LogEvent("b", "")]


def test_what_is_no_log_line_is_left_out() -> None:
    stream = b'data: {}\n\ndata: [1]\n\ndata: {"line": 3}\n\nevent: ping\n\n' + _event("a", "x")

    assert EventDecoder().feed(stream) == [LogEvent("a", "x")]


def test_an_endless_line_is_cut_and_the_next_is_whole() -> None:
    decoder = EventDecoder()
    decoder.feed(b'data: {"line": "')
    for _ in range(100):
        decoder.feed(b"x" * LONGEST_LINE_BYTES)
    [cut] = decoder.feed(b'"}\n\n')

    assert len(cut.line) <= LONGEST_LINE_BYTES
    assert decoder.feed(_event("b", "next")) == [LogEvent("b", "next")]


def test_a_stream_that_begins_with_the_last_line_repeats_nothing() -> None:
    resumption = Resumption()
    first = [LogEvent("1", "a"), LogEvent("2", "b"), LogEvent("2", "b")]
    assert all(resumption.is_new(event) for event in first)

    assert resumption.reconnect() == {"Last-Event-ID": "2"}
    again = [LogEvent("2", "b"), LogEvent("2", "b"), LogEvent("2", "b"), LogEvent("3", "c")]

    assert [event for event in again if resumption.is_new(event)] == again[2:]


def test_a_stream_that_begins_after_the_last_line_loses_nothing() -> None:
    resumption = Resumption()
    resumption.is_new(LogEvent("1", "a"))
    resumption.reconnect()

    assert resumption.is_new(LogEvent("2", "a"))
    assert resumption.is_new(LogEvent("3", "a"))


def test_a_stream_without_ids_starts_over_and_repeats_nothing() -> None:
    resumption = Resumption()
    assert [resumption.is_new(LogEvent(None, line)) for line in "ab"] == [True, True]

    assert resumption.reconnect() == {}
    assert [resumption.is_new(LogEvent(None, line)) for line in "abc"] == [False, False, True]
