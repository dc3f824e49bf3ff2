"""Conversations of JSONL files, as JSON values: a line each, or gathered from their pairs' lines.

No text is kept: where lines of one conversation stand apart, they are read a second time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shared.dataset.conversation import Declared
from shared.dataset.fields import OnProblem, count_or_none, member
from shared.dataset.findings import Finding, Severity, UnreadableDataset
from shared.dataset.json_walk import value_of_line
from shared.dataset.raw import OnProgress, RawConversation, chat_conversation
from shared.dataset.shapes import Kind, Shape
from shared.dataset.source import Line, lines_of
from shared.errors import InvalidDataset


def line_conversations(
    path: Path,
    shape: Shape,
    declared: Declared,
    on_problem: OnProblem,
    on_progress: OnProgress,
) -> Iterator[RawConversation]:
    """The conversations of a JSONL file; a line that cannot be read is told and left out."""
    if shape.kind is Kind.BRIGHTRUN:
        yield from _grouped_lines(path, declared, on_problem, on_progress)
        return
    count = 0
    for line in lines_of(path):
        value = object_of_line(line, path, on_problem)
        if value is not None:
            count += 1
            found = chat_conversation(value, shape.kind, f"line {line.number}", count, on_problem)
            if found is not None:
                yield found
        on_progress(line.end)


def pairs_conversation(entries: Iterable[tuple[Line, dict[str, Any]]]) -> RawConversation:
    """One conversation of its lines in a JSONL file; at least one."""
    found = list(entries)
    line, first = found[0]
    metadata = first.get("conversation_metadata")
    return RawConversation(
        conversation_id=first["conversation_id"],
        location=f"line {line.number}",
        metadata=metadata if isinstance(metadata, dict) else {},
        pairs=[entry for _, entry in found],
        pair_locations=[f"line {line.number}" for line, _ in found],
    )


def _grouped_lines(
    path: Path, declared: Declared, on_problem: OnProblem, on_progress: OnProgress
) -> Iterator[RawConversation]:
    """Twice over the file: lines of one conversation may stand apart, and no text is kept."""
    index = _LineIndex()
    for line in lines_of(path):
        value = object_of_line(line, path, on_problem)
        if value is not None and "_meta" in value:
            if isinstance(value["_meta"], dict):
                declared.pairs = count_or_none(value["_meta"].get("total_pairs"))
        elif value is not None:
            location = f"line {line.number}"
            own_id = member(value, "conversation_id", str, location, on_problem)
            if own_id is not None:
                index.add(line, own_id)
        on_progress(line.end // 2)
    half = path.stat().st_size // 2
    for lines in index.conversations(path):
        yield pairs_conversation((line, _known_pair(line, path)) for line in lines)
        on_progress(half + lines[-1].end // 2)


class _LineIndex:
    """Where the lines of each conversation are: 20 bytes a line, besides the ids."""

    def __init__(self) -> None:
        self._groups: dict[str, int] = {}
        self._offsets = array("Q")
        self._numbers = array("Q")
        self._group_of = array("L")

    def add(self, line: Line, conversation_id: str) -> None:
        self._offsets.append(line.offset)
        self._numbers.append(line.number)
        self._group_of.append(self._groups.setdefault(conversation_id, len(self._groups)))

    def conversations(self, path: Path) -> Iterator[list[Line]]:
        """The lines of each conversation, in order of first appearance, read again."""
        self._groups.clear()
        order = sorted(range(len(self._offsets)), key=self._group_of.__getitem__)
        lines: list[Line] = []
        group = 0
        reader: Iterator[Line] = iter(())
        following = -1
        for place in order:
            if self._group_of[place] != group:
                yield lines
                lines, group = [], self._group_of[place]
            if place != following:
                reader = lines_of(path, self._offsets[place], self._numbers[place])
            lines.append(_line_at(self._numbers[place], reader, path))
            following = place + 1
        if lines:
            yield lines


def _line_at(number: int, reader: Iterator[Line], path: Path) -> Line:
    """The line of this number; those before it belong to no conversation."""
    for line in reader:
        if line.number == number:
            return line
    raise _changed(path)


def _known_pair(line: Line, path: Path) -> dict[str, Any]:
    """The pair on a line that was read before."""
    try:
        value = value_of_line(line, path)
    except UnreadableDataset as error:
        raise _changed(path) from error
    if not isinstance(value, dict) or "conversation_id" not in value:
        raise _changed(path)
    return value


def _changed(path: Path) -> InvalidDataset:
    return InvalidDataset(f"{path}: changed while it was read. Try again.")


def object_of_line(line: Line, path: Path, on_problem: OnProblem) -> dict[str, Any] | None:
    """The JSON object that the line is; None where it is none, which is told."""
    try:
        value = value_of_line(line, path)
    except UnreadableDataset as error:
        on_problem(error.finding)
        return None
    if isinstance(value, dict):
        return value
    snippet = line.raw[:60].decode(errors="replace")
    on_problem(
        Finding(
            Severity.ERROR,
            "not_an_object",
            f"is not a JSON object: {snippet!r}.",
            "Write one object a line.",
            location=f"line {line.number}",
        )
    )
    return None
