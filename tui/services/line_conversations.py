"""Reads single conversations of a JSONL file, which is searched for them, not parsed. Blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from shared.dataset.entries import to_conversation
from shared.dataset.fields import OnProblem
from shared.dataset.findings import Finding
from shared.dataset.line_search import (
    LinePlace,
    lines_holding,
    nth_conversation_id,
    nth_object,
    objects_up_to,
    place_of_line,
)
from shared.dataset.raw import RawConversation, chat_conversation
from shared.dataset.raw_lines import object_of_line, pairs_conversation
from shared.dataset.reader import TrainingFile
from shared.dataset.shapes import Kind
from shared.dataset.source import Line, lines_of
from shared.errors import InvalidDataset
from tui.services.found_conversation import ConversationReader, Found, OnProgress, Place

_MOST_LINES = 1_000
"""Of one conversation. Real ones have 5; every line of a file may have the same id by mistake."""

_MADE_ID = re.compile(r"conversation-([1-9]\d{0,8})")
"""What the reader calls a conversation without an id."""


def line_reader(file: TrainingFile) -> ConversationReader:
    """For a JSONL file of any shape."""
    return _PairLines(file) if file.layout.kind is Kind.BRIGHTRUN else _ChatLines(file)


class _Lines:
    """Lines, and the JSON objects on them."""

    def __init__(self, file: TrainingFile) -> None:
        self._path = file.path
        self._kind = file.layout.kind

    def _at(self, number: int) -> tuple[Line, dict[str, Any]]:
        """The line of this number, and its object."""
        place = place_of_line(self._path, number) if number > 0 else None
        if place is None:
            raise InvalidDataset(f"{self._path}: has no line {number}.")
        problems: list[Finding] = []
        entries = self._entries([place], problems.append)
        if not entries:
            raise self._unreadable(f"line {number}", problems)
        return entries[0]

    def _entries(
        self, places: list[LinePlace], on_problem: OnProblem
    ) -> list[tuple[Line, dict[str, Any]]]:
        """Lines that are blank or hold no object are left out."""
        entries = []
        for place in places:
            line = next(lines_of(self._path, place.offset, place.number), None)
            if line is None or line.number != place.number:
                continue
            value = object_of_line(line, self._path, on_problem)
            if value is not None:
                entries.append((line, value))
        return entries

    def _objects(self, on_progress: OnProgress) -> Iterator[tuple[Line, dict[str, Any]]]:
        for line in lines_of(self._path):
            value = object_of_line(line, self._path, _ignore)
            if value is not None:
                yield line, value
            on_progress(line.end)

    def _unreadable(self, where: str, problems: list[Finding]) -> InvalidDataset:
        if not problems:
            return InvalidDataset(f"{self._path}: {where}: holds no conversation.")
        first = problems[0]
        return InvalidDataset(
            f"{self._path}: {first.location or where}: {first.message} {first.advice}".rstrip()
        )


class _PairLines(_Lines):
    """A training pair a line; the lines of a conversation may stand apart."""

    def by_number(self, number: int) -> Found | None:
        first = nth_conversation_id(self._path, number)
        if first is None:
            return None
        place, quoted_id = first
        lines = lines_holding(self._path, [quoted_id], most=_MOST_LINES, start=place)
        return self._found(lines, _text_of(quoted_id), number)

    def by_id(self, conversation_id: str) -> Found | None:
        lines = lines_holding(self._path, _spellings(conversation_id), most=_MOST_LINES)
        problems: list[Finding] = []
        raw = self._raw(lines, conversation_id, problems.append)
        if raw is None:
            return None
        return Found(to_conversation(raw, problems.append), None, tuple(problems))

    def at_line(self, number: int) -> Found:
        _, value = self._at(number)
        own_id = value.get("conversation_id")
        found = self.by_id(own_id) if isinstance(own_id, str) else None
        if found is None:
            raise InvalidDataset(f"{self._path}: line {number}: belongs to no conversation.")
        return found

    def places(self, on_progress: OnProgress) -> Iterator[Place]:
        known: dict[str, Place] = {}
        for line, value in self._objects(on_progress):
            own_id = value.get("conversation_id")
            if not isinstance(own_id, str) or "_meta" in value:
                continue
            place = known.get(own_id)
            if place is None:
                first = to_conversation(pairs_conversation([(line, value)]), _ignore)
                place = known[own_id] = Place.of(first, len(known) + 1)
                yield place
            if len(place.lines) < _MOST_LINES:
                place.lines.append(LinePlace(line.number, line.offset))

    def read(self, place: Place) -> Found:
        return self._found(place.lines, place.conversation_id, place.number)

    def _found(self, lines: list[LinePlace], conversation_id: str, number: int) -> Found:
        problems: list[Finding] = []
        raw = self._raw(lines, conversation_id, problems.append)
        if raw is None:
            raise self._unreadable(f"conversation {number}", problems)
        return Found(to_conversation(raw, problems.append), number, tuple(problems))

    def _raw(
        self, lines: list[LinePlace], conversation_id: str, on_problem: OnProblem
    ) -> RawConversation | None:
        """None where none of the lines is the conversation's: some may only speak of it."""
        entries = self._entries(lines, on_problem)
        own = [entry for entry in entries if entry[1].get("conversation_id") == conversation_id]
        return pairs_conversation(own) if own else None


class _ChatLines(_Lines):
    """A conversation a line."""

    def by_number(self, number: int) -> Found | None:
        place = nth_object(self._path, number)
        return None if place is None else self._found(place, number)

    def by_id(self, conversation_id: str) -> Found | None:
        if (found := self._by_made_id(conversation_id)) is not None:
            return found
        lines = lines_holding(self._path, _spellings(conversation_id), most=_MOST_LINES)
        for line, value in self._entries(lines, _ignore):
            raw = self._raw(line, value, 0, _ignore)
            if raw is not None and raw.conversation_id == conversation_id:
                return self._found(LinePlace(line.number, line.offset), None)
        return None

    def _by_made_id(self, conversation_id: str) -> Found | None:
        """Broken lines are counted by the search, and not by the reader: then it is another one."""
        made = _MADE_ID.fullmatch(conversation_id)
        try:
            found = self.by_number(int(made[1])) if made else None
        except InvalidDataset:
            return None
        is_it = found is not None and found.conversation.conversation_id == conversation_id
        return found if is_it else None

    def at_line(self, number: int) -> Found:
        line, _ = self._at(number)
        count = objects_up_to(self._path, number)
        return self._found(LinePlace(line.number, line.offset), count)

    def places(self, on_progress: OnProgress) -> Iterator[Place]:
        for number, (line, value) in enumerate(self._objects(on_progress), start=1):
            raw = self._raw(line, value, number, _ignore)
            if raw is not None:
                place = Place.of(to_conversation(raw, _ignore), number)
                place.lines.append(LinePlace(line.number, line.offset))
                yield place

    def read(self, place: Place) -> Found:
        return self._found(place.lines[0], place.number)

    def _found(self, place: LinePlace, number: int | None) -> Found:
        problems: list[Finding] = []
        for line, value in self._entries([place], problems.append):
            raw = self._raw(line, value, number or 0, problems.append)
            if raw is not None:
                return Found(to_conversation(raw, problems.append), number, tuple(problems))
        raise self._unreadable(f"line {place.number}", problems)

    def _raw(
        self, line: Line, value: dict[str, Any], number: int, on_problem: OnProblem
    ) -> RawConversation | None:
        return chat_conversation(value, self._kind, f"line {line.number}", number, on_problem)


def _spellings(conversation_id: str) -> list[bytes]:
    """The id as a JSON value, with and without escapes."""
    spelled = (json.dumps(conversation_id, ensure_ascii=ascii) for ascii in (True, False))
    return list(dict.fromkeys(text.encode(errors="replace") for text in spelled))


def _text_of(quoted_id: bytes) -> str:
    """The id that stands there; empty where it is no JSON."""
    try:
        return str(json.loads(quoted_id))
    except ValueError:
        return ""


def _ignore(problem: Finding) -> None:
    pass
