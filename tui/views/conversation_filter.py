"""Which conversations of a file are shown: by persona, arc, topic, finding, and text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.clean_text import clean_line
from shared.dataset.conversation import Conversation
from tui.services.found_conversation import Place

Codes = Mapping[str, Collection[str]]
"""Conversation id -> codes of the findings in it."""


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """What a conversation must have; None: anything. "" is a value: those without a persona."""

    persona: str | None = None
    emotional_arc: str | None = None
    training_topic: str | None = None
    finding: str | None = None

    @property
    def is_empty(self) -> bool:
        return self == ConversationFilter()

    def chosen(self, places: Iterable[Place], codes: Codes) -> list[Place]:
        """Those that have all of it."""
        return [place for place in places if self._fits(place, codes)]

    def _fits(self, place: Place, codes: Codes) -> bool:
        return (
            self.persona in (None, place.persona)
            and self.emotional_arc in (None, place.emotional_arc)
            and self.training_topic in (None, place.training_topic)
            and (self.finding is None or self.finding in codes.get(place.conversation_id, ()))
        )

    @property
    def words(self) -> str:
        """`persona anxious_planner, finding cut_target`; foreign text, cleaned."""
        named = (
            ("persona", self.persona),
            ("arc", self.emotional_arc),
            ("topic", self.training_topic),
            ("finding", self.finding),
        )
        return ", ".join(
            f"{name} {clean_line(value) or 'none'}" for name, value in named if value is not None
        )


@dataclass(frozen=True, slots=True)
class FilterChoices:
    """What can be chosen of each kind: value -> conversations, most first."""

    personas: dict[str, int] = field(default_factory=dict)
    emotional_arcs: dict[str, int] = field(default_factory=dict)
    training_topics: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, places: Sequence[Place], codes: Codes) -> FilterChoices:
        return cls(
            dict(Counter(place.persona for place in places).most_common()),
            dict(Counter(place.emotional_arc for place in places).most_common()),
            dict(Counter(place.training_topic for place in places).most_common()),
            dict(
                Counter(
                    code for place in places for code in set(codes.get(place.conversation_id, ()))
                ).most_common()
            ),
        )


def text_pattern(query: str) -> re.Pattern[str]:
    """Finds the query as it stands; an uppercase letter in it makes case matter."""
    flags = re.NOFLAG if any(map(str.isupper, query)) else re.IGNORECASE
    return re.compile(re.escape(query), flags)


def holds(conversation: Conversation, pattern: re.Pattern[str]) -> bool:
    """The pattern is in one of its messages, or in its id."""
    # The history of each pair repeats what came before.
    texts = {message.content for pair in conversation.pairs for message in pair.context}
    texts.update(pair.target or "" for pair in conversation.pairs)
    texts.add(conversation.conversation_id)
    return any(pattern.search(text) for text in texts)
