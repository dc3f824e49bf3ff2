"""What reading single conversations of a training file gives, and how a JSON document gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from shared.dataset.conversation import Conversation
from shared.dataset.entries import to_conversation
from shared.dataset.findings import Finding
from shared.dataset.line_search import LinePlace
from shared.dataset.reader import TrainingFile
from shared.errors import InvalidDataset

OnProgress = Callable[[int], None]
"""Takes how many bytes are done."""


@dataclass(slots=True)
class Place:
    """One conversation in the list of all."""

    number: int
    """Counted from 1; conversations that cannot be read at all are counted and left out."""
    conversation_id: str
    persona: str = ""
    emotional_arc: str = ""
    training_topic: str = ""
    lines: list[LinePlace] = field(default_factory=list)
    """Of JSONL."""

    @classmethod
    def of(cls, conversation: Conversation, number: int) -> Place:
        return cls(
            number,
            conversation.conversation_id,
            conversation.persona,
            conversation.emotional_arc,
            conversation.training_topic,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation, read."""

    conversation: Conversation
    number: int | None
    """Counted from 1; None while it is not known."""
    problems: tuple[Finding, ...] = ()
    """What in it cannot be read, and is left out."""


class ConversationReader(Protocol):
    """Reads single conversations of one file. All of it blocks, and may raise InvalidDataset."""

    def by_number(self, number: int) -> Found | None:
        """The conversation, from 1 on; None where there are fewer."""

    def by_id(self, conversation_id: str) -> Found | None:
        """The conversation, if it can be found faster than by going through all of them."""

    def at_line(self, number: int) -> Found:
        """The conversation that a line belongs to."""

    def places(self, on_progress: OnProgress) -> Iterator[Place]:
        """All conversations, in the order of the file; complete only when the last one is out."""

    def read(self, place: Place) -> Found:
        """The conversation at a place, once all of them are known."""


class DocumentReader:
    """Conversations of one JSON document, which can only be read from its beginning."""

    def __init__(self, file: TrainingFile) -> None:
        self._file = file
        self._kept: list[Found] = []
        """All of them, once they have been read."""

    def by_number(self, number: int) -> Found | None:
        return next(islice(self._all(_in_silence), number - 1, None), None)

    def by_id(self, conversation_id: str) -> Found | None:
        return next(
            (
                found
                for found in self._all(_in_silence)
                if found.conversation.conversation_id == conversation_id
            ),
            None,
        )

    def at_line(self, number: int) -> Found:
        raise InvalidDataset(
            f"{self._file.path}: is one JSON document, where a line is no conversation. "
            "Give a conversation's number or id."
        )

    def places(self, on_progress: OnProgress) -> Iterator[Place]:
        for found in self._all(on_progress):
            yield Place.of(found.conversation, found.number or 0)

    def read(self, place: Place) -> Found:
        return self._kept[place.number - 1]

    def _all(self, on_progress: OnProgress) -> Iterator[Found]:
        if self._kept:
            yield from self._kept
            return
        kept: list[Found] = []
        outside: list[Finding] = []
        for raw in self._file.raw_conversations(outside.append, on_progress):
            problems: list[Finding] = []
            conversation = to_conversation(raw, problems.append)
            kept.append(Found(conversation, len(kept) + 1, tuple(problems)))
            yield kept[-1]
        self._kept = kept


def _in_silence(done_bytes: int) -> None:
    pass
