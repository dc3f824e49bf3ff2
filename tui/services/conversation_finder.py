"""Opens a training file at one conversation: by number, by id, or by a line. Blocks.

A large JSONL file is searched, not read: the conversation is there long before all of them are
known. `places` makes the list of all, for who wants to move, filter and search.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.dataset.reader import open_training_file
from shared.errors import InvalidDataset
from shared.number_text import many
from tui.services.found_conversation import (
    ConversationReader,
    DocumentReader,
    Found,
    OnProgress,
    Place,
)
from tui.services.line_conversations import line_reader

_CLOSE_IDS = 3
_MOST_COMPARED = 5_000
"""Ids that a wrong one is compared with, to name those close to it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which conversation: at most one of these; none of them is the first."""

    number: int | None = None
    """Counted from 1."""
    conversation_id: str | None = None
    """Or the beginning of one."""
    line: int | None = None
    """Of a JSONL file, counted from 1: the conversation that it belongs to."""

    @classmethod
    def typed(cls, text: str) -> Wanted:
        """`3` and `#3` are numbers; anything else is an id, or the beginning of one."""
        digits = text.strip().removeprefix("#")
        if digits.isascii() and digits.isdigit() and len(digits) < 10:
            return cls(number=int(digits))
        return cls(conversation_id=text.strip())


class ConversationFinder:
    """Reads single conversations of one file.

    Raises:
        InvalidDataset: nothing in the file can be read. Every method may raise it.
    """

    def __init__(self, path: Path) -> None:
        file = open_training_file(path)
        self._path = path
        self.size_bytes = file.size_bytes
        self._reader: ConversationReader = (
            line_reader(file) if file.layout.is_lines else DocumentReader(file)
        )

    def find(self, wanted: Wanted) -> Found:
        """The conversation that is meant.

        Raises:
            InvalidDataset: there is none, or several whose ids begin so; the message names some.
        """
        if wanted.line is not None:
            return self._reader.at_line(wanted.line)
        if wanted.conversation_id is not None:
            return self._by_id(wanted.conversation_id)
        return self._by_number(1 if wanted.number is None else wanted.number)

    def places(self, on_progress: OnProgress = lambda done_bytes: None) -> Iterator[Place]:
        """All conversations, in the order of the file; complete only when the last one is out."""
        return self._reader.places(on_progress)

    def read(self, place: Place) -> Found:
        """The conversation at a place, once all of them are known."""
        return self._reader.read(place)

    def _by_number(self, number: int) -> Found:
        found = self._reader.by_number(number) if number > 0 else None
        if found is None:
            count = sum(1 for _ in self.places())
            raise InvalidDataset(
                f"{self._path}: there is no conversation {number}; it has "
                f"{many(count, 'conversation')}, counted from 1."
            )
        return found

    def _by_id(self, typed: str) -> Found:
        found = self._reader.by_id(typed) if typed else None
        if found is not None:
            return found
        places = {place.conversation_id: place for place in self.places()}
        beginning = [known for known in places if known.startswith(typed)]
        if typed not in places and len(beginning) != 1:
            raise self._no_such_id(typed, beginning, list(places))
        return self.read(places[typed if typed in places else beginning[0]])

    def _no_such_id(self, typed: str, beginning: list[str], ids: list[str]) -> InvalidDataset:
        if beginning:
            more = " ..." if len(beginning) > _CLOSE_IDS else ""
            return InvalidDataset(
                f"{self._path}: {len(beginning):,} conversations have ids that begin with "
                f"{typed!r}: {', '.join(beginning[:_CLOSE_IDS])}{more}. Type more of it."
            )
        close = difflib.get_close_matches(typed, ids[:_MOST_COMPARED], _CLOSE_IDS, cutoff=0.4)
        some = f"Close to it: {', '.join(close)}." if close else f"The first is {(ids or [''])[0]}."
        return InvalidDataset(
            f"{self._path}: none of the {many(len(ids), 'conversation')} has the id {typed!r}. "
            f"{some} A number works too, from 1 on."
        )
