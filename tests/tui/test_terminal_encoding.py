from __future__ import annotations

import io

import pytest

from tui.terminal_encoding import is_unicode, substitute_on


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", True), ("UTF8", True), ("latin-1", False), ("ascii", False), (None, False)],
)
def test_which_terminals_take_every_character(encoding: str | None, expected: bool) -> None:
    assert is_unicode(encoding) is expected


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_what_a_terminal_does_not_know_becomes_one_character_that_it_knows(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
    substitute_on(stream)
    stream.write("━─│ ✓ done – “x” ⠋ 語")
    stream.flush()

    assert raw.getvalue() == b'--| v done - "x" ? ?'


def test_a_utf8_terminal_is_left_as_it_is() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", errors="strict")
    substitute_on(stream)
    stream.write("━✓")
    stream.flush()

    assert raw.getvalue().decode() == "━✓"
    assert stream.errors == "strict"
