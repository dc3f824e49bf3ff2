"""What a form wants and the source does not hold, and what the source holds and the form cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.dataset.shapes import Kind
from shared.dataset.writing.brightrun import Piece
from shared.dataset.writing.head import Head
from shared.number_text import many

_MOST_KEYS = 10
_IDENTITY = ("id", "conversation_id", "metadata", "conversation_metadata")


class Losses:
    """Watches conversations on their way into a file; says in `notes` what was lost or missing."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._built = 0
        self._unlabelled = 0
        self._blank_prompts = 0
        self._documents = 0

    def watched(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces, noted."""
        for piece in pieces:
            self._note(piece)
            yield piece

    def of_document(self, head: Head) -> list[str]:
        """Notes on what went into a JSON document."""
        notes = self._of_pairs()
        if "consultant_profile" not in head.others:
            notes.append("The source has no consultant_profile; it is left out.")
        return notes

    def of_lines(self, head: Head, silent: int) -> list[str]:
        """Notes on what went into JSONL; `silent` conversations have nothing to train."""
        notes = self._of_pairs()
        if self._documents:
            members = "".join(f"{_quoted(name)}, " for name in list(head.others)[:_MOST_KEYS])
            notes.append(
                f"JSONL has no place for {members}metadata of conversations, and turns without "
                "an answer; they are left out."
            )
        if silent:
            notes.append(f"Left out, without a target: {many(silent, 'conversation')}.")
        return notes

    def of_messages(self) -> list[str]:
        """Notes on what went into a form that holds messages only."""
        return ["Only messages are kept: ids, persona, arc and topic are left out."]

    def _of_pairs(self) -> list[str]:
        notes = []
        if self._built:
            notes.append(
                "The source has no emotional_context and no training_metadata; pairs are built "
                "without them."
            )
        if self._unlabelled:
            notes.append(
                f"Persona, arc or topic stay empty in {many(self._unlabelled, 'conversation')}."
            )
        if self._blank_prompts:
            notes.append(f"{self._blank_prompts} blank system prompts are left out.")
        if self._keys:
            keys = ", ".join(_quoted(key) for key in self._keys)
            notes.append(f"Training pairs have no place for {keys}; left out.")
        return notes

    def _note(self, piece: Piece) -> None:
        conversation = piece.conversation
        labels = (conversation.persona, conversation.emotional_arc, conversation.training_topic)
        self._unlabelled += not all(labels)
        self._documents += piece.layout.kind is Kind.BRIGHTRUN and not piece.layout.is_lines
        if piece.raw.messages is None:
            return
        self._built += 1
        for key in piece.raw.others:
            if key not in _IDENTITY and len(self._keys) < _MOST_KEYS:
                self._keys[key] = None
        context = conversation.pairs[0].context if conversation.pairs else ()
        self._blank_prompts += any(
            message.role == "system" and not message.content.strip() for message in context
        )


def _quoted(name: str) -> str:
    return f'"{name[:40]}"'
