"""What a training file holds, whatever its shape: conversations of training pairs.

A *training pair* is one turn as the file records it: the context up to a point, and the assistant's
answer to it (the *target*), or no target where the turn is the user's. These are plain values; they
know nothing of files, tokens or splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, exactly as it will be trained."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """One turn: `context` ends with the user message that `target` answers."""

    turn: int
    context: tuple[Message, ...]
    """The system prompt, if there is one, then alternating messages."""
    target: str | None
    """The assistant's answer; None where the turn is the user's and nothing is trained."""
    location: str
    """Where in the file: `line 12`, or `conversations[3].training_pairs[1]`."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Training pairs that belong together, in the order of their turns."""

    conversation_id: str
    """The outer uuid: ids inside pairs repeat across conversations."""
    pairs: tuple[TrainingPair, ...]
    location: str
    persona: str = ""
    emotional_arc: str = ""
    training_topic: str = ""

    @property
    def targets(self) -> tuple[TrainingPair, ...]:
        """The pairs that have something to train."""
        return tuple(pair for pair in self.pairs if pair.target is not None)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training file, read."""

    path: Path
    shape: str
    """Name of the recognised shape, for people."""
    conversations: tuple[Conversation, ...]
