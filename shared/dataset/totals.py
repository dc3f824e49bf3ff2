"""What conversations add up to, as the metadata of a training file count it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from shared.dataset.conversation import Conversation


@dataclass(slots=True)
class Totals:
    """Counted over conversations as they are written or read."""

    conversations: int = 0
    turns: int = 0
    """Those without a target included: the format's `total_training_pairs`."""
    targets: int = 0
    personas: Counter[str] = field(default_factory=Counter)
    """In order of first appearance; conversations without a key are not in it."""
    emotional_arcs: Counter[str] = field(default_factory=Counter)
    training_topics: Counter[str] = field(default_factory=Counter)

    def add(self, conversation: Conversation, turns: int) -> None:
        """Count one conversation, which has `turns` turns where it stands."""
        self.conversations += 1
        self.turns += turns
        self.targets += len(conversation.targets)
        for counter, name in (
            (self.personas, conversation.persona),
            (self.emotional_arcs, conversation.emotional_arc),
            (self.training_topics, conversation.training_topic),
        ):
            if name:
                counter[name] += 1

    @property
    def distribution(self) -> dict[str, Any]:
        """As `scaffolding_distribution` has it."""
        return {
            "personas": dict(self.personas),
            "emotional_arcs": dict(self.emotional_arcs),
            "training_topics": dict(self.training_topics),
        }


def spoken_turns(conversation: Conversation) -> int:
    """Turns of a conversation of which a file may hold the answered ones only, as JSONL does.

    A last user turn that nobody answered leaves no trace there, and is not counted.
    """
    spoken = (
        sum(message.role != "system" for message in pair.context) + (pair.target is not None)
        for pair in conversation.pairs
    )
    return max([len(conversation.pairs), *spoken])
