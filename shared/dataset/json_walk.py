"""Walks a JSON document value by value, so that no more than one of them is held as objects.

What is wrong is told with line, column and the text there. Knows nothing of what the values mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.dataset.findings import Finding, Severity, UnreadableDataset
from shared.dataset.source import Line, decoded

_SNIPPET_CHARACTERS = 60
_BLANK = " \t\n\r"
_DECODER = json.JSONDecoder()
_ADVICE = {
    "Invalid \\escape": "Double the backslash, or remove it.",
    "Invalid control character at": "Write line breaks inside a text as \\n, tabs as \\t.",
    "Unterminated string starting at": "The file may be cut off: export it again.",
    "Extra data": "Remove it, or let `brightrun dataset fix` do it.",
}


class JsonWalk:
    """A place in a JSON text that moves on as values are taken.

    Every method raises `UnreadableDataset` where the text is not JSON.
    """

    def __init__(self, text: str, path: Path, *, line_number: int = 1) -> None:
        self._text = text
        self._path = path
        self._line_number = line_number
        self.position = 0
        """In characters: where the next value begins, once white space is skipped."""

    def peek(self) -> str:
        """The first character of what comes next; empty at the end."""
        text, position = self._text, self.position
        while position < len(text) and text[position] in _BLANK:
            position += 1
        self.position = position
        return text[position : position + 1]

    def value(self) -> Any:
        """The value here."""
        self.peek()
        try:
            value, self.position = _DECODER.raw_decode(self._text, self.position)
        except json.JSONDecodeError as error:
            raise self._invalid(error.msg, error.pos) from error
        except RecursionError as error:
            message = "is nested too deeply to be a training file"
            raise self._invalid(message, self.position) from error
        except ValueError as error:  # A whole number of thousands of digits.
            raise self._invalid(str(error), self.position) from error
        return value

    def members(self) -> Iterator[str]:
        """The keys of the object here; each one's value has to be taken before the next."""
        self._take("{", "Expecting an object")
        if self.peek() == "}":
            self.position += 1
            return
        while True:
            if self.peek() != '"':
                message = "Expecting property name enclosed in double quotes"
                raise self._invalid(message, self.position)
            key = self.value()
            self._take(":", "Expecting ':' delimiter")
            yield key
            if not self._goes_on("}"):
                return

    def items(self) -> Iterator[int]:
        """The indices of the list here; each item has to be taken before the next."""
        self._take("[", "Expecting a list")
        if self.peek() == "]":
            self.position += 1
            return
        index = 0
        while True:
            yield index
            index += 1
            if not self._goes_on("]"):
                return

    def end(self) -> None:
        """Nothing but white space may follow."""
        if self.peek():
            raise self._invalid("Extra data", self.position, code="trailing_text")

    def _goes_on(self, closing: str) -> bool:
        found = self.peek()
        if found not in (",", closing) or not found:
            raise self._invalid("Expecting ',' delimiter", self.position)
        self.position += 1
        return found == ","

    def _take(self, character: str, message: str) -> None:
        if self.peek() != character:
            raise self._invalid(message, self.position)
        self.position += 1

    def _invalid(
        self, message: str, position: int, code: str = "invalid_json"
    ) -> UnreadableDataset:
        text = self._text
        line = self._line_number + text.count("\n", 0, position)
        column = position - text.rfind("\n", 0, position)
        half = _SNIPPET_CHARACTERS // 2
        return UnreadableDataset(
            str(self._path),
            Finding(
                Severity.ERROR,
                code,
                f"{message}.",
                _ADVICE.get(message, "Mend the JSON there."),
                location=f"line {line}, column {column}",
                snippet=text[max(position - half, 0) : position + half],
            ),
        )


def value_of_line(line: Line, path: Path) -> Any:
    """The JSON value that a line of JSONL is.

    Raises:
        UnreadableDataset: it is none; line and column are those in the file.
    """
    walk = JsonWalk(decoded(line.raw, path, line.number), path, line_number=line.number)
    value = walk.value()
    walk.end()
    return value
