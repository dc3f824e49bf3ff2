"""What a training file holds, whatever its shape: conversations of training pairs.

A *training pair* is one turn as the file records it: the context up to a point, and the assistant's
answer to it (the *target*), or no target where the turn is the user's. These are plain values; they
know nothing of files, tokens or splits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    pair_id: str = ""
    """As the file has it; repeats across conversations in real files. Empty where there is none."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Training pairs that belong together, in the order of their turns."""

    conversation_id: str
    """The outer uuid: ids inside pairs repeat across conversations. Made from the place in the file
    for shapes without ids."""
    pairs: tuple[TrainingPair, ...]
    location: str
    persona: str = ""
    emotional_arc: str = ""
    training_topic: str = ""
    is_scaffolded: bool = False
    """True where the file has a place for persona, arc and topic, even if they are empty."""
    declared_turns: int | None = None
    """`total_turns`, as the file says it; None where it says nothing."""

    @property
    def targets(self) -> tuple[TrainingPair, ...]:
        """The pairs that have something to train."""
        return tuple(pair for pair in self.pairs if pair.target is not None)


@dataclass(slots=True)
class Declared:
    """What the file's own metadata says of its content; None and empty where it says nothing."""

    conversations: int | None = None
    pairs: int | None = None
    """Turns without a target included, in JSONL too."""
    personas: dict[str, int] = field(default_factory=dict)
    """Persona key -> conversations."""
    emotional_arcs: dict[str, int] = field(default_factory=dict)
    training_topics: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training file, read."""

    path: Path
    shape: str
    """Name of the recognised shape, for people."""
    conversations: tuple[Conversation, ...]
    declared: Declared = field(default_factory=Declared)
