"""Every text of a conversation once, where it first stands.

Each pair repeats all earlier turns as its history; who looks at every pair's messages reports the
same text again and again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.dataset.checks.personal_values import masked
from shared.dataset.conversation import Conversation, Message, Role, TrainingPair
from shared.dataset.findings import Finding, Severity

_NAMES: dict[Role, str] = {
    "system": "the system prompt",
    "user": "the user's message",
    "assistant": "an answer in the history",
}


@dataclass(frozen=True, slots=True)
class Text:
    """The content of a message, and the pair that it first stands in."""

    conversation_id: str
    pair: TrainingPair
    role: Role
    content: str
    is_target: bool = False

    @property
    def name(self) -> str:
        """What it is, for people."""
        return "the target" if self.is_target else _NAMES[self.role]

    def finding(
        self, severity: Severity, code: str, message: str, advice: str, snippet: str | None = None
    ) -> Finding:
        """A finding about this text."""
        return at_pair(
            self.conversation_id, self.pair, severity, code, message, advice, snippet=snippet
        )


def texts_of(conversation: Conversation) -> Iterator[Text]:
    """The texts in order of turns; the same words of the same role come once."""
    seen: set[tuple[Role, str]] = set()
    for pair, messages in new_messages(conversation):
        for message in messages:
            key = (message.role, message.content)
            if key not in seen:
                seen.add(key)
                yield Text(conversation.conversation_id, pair, *key)
        if pair.target is not None and ("assistant", pair.target) not in seen:
            seen.add(("assistant", pair.target))
            yield Text(conversation.conversation_id, pair, "assistant", pair.target, is_target=True)


def new_messages(
    conversation: Conversation,
) -> Iterator[tuple[TrainingPair, tuple[Message, ...]]]:
    """Each pair with the part of its context that the pair before did not have.

    All of its context where it does not go on from the pair before.
    """
    before: tuple[Message, ...] = ()
    for pair in conversation.pairs:
        is_next = pair.context[: len(before)] == before
        yield pair, pair.context[len(before) :] if is_next else pair.context
        before = pair.context


def at_pair(
    conversation_id: str,
    pair: TrainingPair,
    severity: Severity,
    code: str,
    message: str,
    advice: str,
    *,
    snippet: str | None = None,
) -> Finding:
    """A finding about one turn."""
    return Finding(
        severity, code, message, advice, conversation_id, pair.turn, pair.location, snippet
    )


def at_conversation(
    conversation: Conversation,
    severity: Severity,
    code: str,
    message: str,
    advice: str,
    *,
    snippet: str | None = None,
) -> Finding:
    """A finding about a conversation as a whole."""
    return Finding(
        severity,
        code,
        message,
        advice,
        conversation.conversation_id,
        location=conversation.location,
        snippet=snippet,
    )


def around(text: str, position: int, reach: int = 25) -> str:
    """The text near a place in it, without personal data."""
    return masked(text)[max(position - reach, 0) : position + reach]


def beginning(text: str, characters: int) -> str:
    """The first of the text, without personal data."""
    return masked(text)[:characters]


def ending(text: str, characters: int) -> str:
    """The last of the text, without personal data."""
    return masked(text)[-characters:]
