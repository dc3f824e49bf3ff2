"""Folds training pairs into rows: one row a conversation, with the loss on every target.

Each pair of a conversation repeats all earlier turns as its history. Training them one by one feeds
the same tokens again and again (EQ-12: 2.1 times); a causal model gives every target the same
context, and so the same loss and gradient, when the conversation is fed once. That holds exactly
where a pair's context begins with all that the row already holds; any other pair starts a row of
its own. Texts are compared here; a chat format in which a message's tokens depend on later ones
takes some rows apart again (`separate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shared.dataset.conversation import Conversation, Message, TrainingPair


@dataclass(frozen=True, slots=True)
class Row:
    """Messages that are fed to the model together."""

    conversation_id: str
    messages: tuple[Message, ...]
    trained: frozenset[int]
    """Indices of the messages that carry loss; all of them are the assistant's."""


def fold(
    conversation: Conversation, is_trained: Callable[[TrainingPair], bool] = lambda pair: True
) -> list[Row]:
    """The fewest rows that give every trained target exactly its own context, in order of turns."""
    rows: list[Row] = []
    for pair in filter(is_trained, conversation.targets):
        # The last row nearly always; after a branch it may be an earlier one.
        for index in reversed(range(len(rows))):
            if _continues(rows[index].messages, pair.context):
                rows[index] = _row(conversation, pair, rows[index].trained)
                break
        else:
            rows.append(_row(conversation, pair, frozenset()))
    return rows


def unfold(
    conversation: Conversation, is_trained: Callable[[TrainingPair], bool] = lambda pair: True
) -> list[Row]:
    """One row for each trained target: what folding must be equal to."""
    return [
        _row(conversation, pair, frozenset()) for pair in conversation.targets if is_trained(pair)
    ]


def row_up_to(row: Row, index: int) -> Row:
    """The row that trains message `index` alone, with what stands before it."""
    return Row(row.conversation_id, row.messages[: index + 1], frozenset({index}))


def separate(row: Row) -> list[Row]:
    """One row for each target of a folded row, in order of turns."""
    return [row_up_to(row, index) for index in sorted(row.trained)]


def count_targets(rows: Iterable[Row]) -> int:
    """Messages that carry loss."""
    return sum(len(row.trained) for row in rows)


def _continues(messages: tuple[Message, ...], context: tuple[Message, ...]) -> bool:
    return context[: len(messages)] == messages


def _row(conversation: Conversation, pair: TrainingPair, earlier: frozenset[int]) -> Row:
    if pair.target is None:
        raise ValueError(f"{pair.location}: has no target")
    return Row(
        conversation_id=conversation.conversation_id,
        messages=(*pair.context, Message("assistant", pair.target)),
        trained=earlier | {len(pair.context)},
    )
