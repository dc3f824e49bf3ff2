"""A conversation as the model will see it: its rows as tokens, and what is left out of them.

Knows nothing of files, screens or colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from shared.chat_format import ChatEncoder
from shared.dataset.conversation import Conversation, Message, Role, TrainingPair
from shared.dataset.cut_targets import CutTargets, is_cut, trained_rows
from shared.dataset.token_counts import count_tokens
from shared.token_text import Token

MOST_PAIRS = 500
"""Of one conversation. Real ones have 10; a file whose conversations all have the same id would
otherwise be drawn as one."""


@dataclass(frozen=True, slots=True)
class ViewedMessage:
    """A message of a row."""

    role: Role
    content: str
    is_trained: bool = False
    is_cut_target: bool = False
    """An answer that ends in mid-sentence: not trained, but what later answers are trained on."""


@dataclass(frozen=True, slots=True)
class ViewedRow:
    """Messages that are fed to the model together; empty where only `not_fed` is to be shown."""

    messages: tuple[ViewedMessage, ...]
    tokens: tuple[Token, ...] | None
    """None without the base model's tokenizer."""
    token_count: int
    """An estimate where `tokens` is None."""
    max_seq_length: int
    not_fed: tuple[ViewedMessage, ...] = ()
    """What follows in the file: nothing after it is trained, so that the model never sees it."""

    @property
    def trained_count(self) -> int | None:
        """Tokens that carry loss; None where tokens are not known."""
        return None if self.tokens is None else sum(token.is_trained for token in self.tokens)

    @property
    def cut_count(self) -> int:
        """Tokens beyond max_seq_length."""
        return max(self.token_count - self.max_seq_length, 0)


@dataclass(frozen=True, slots=True)
class ConversationView:
    """One conversation, ready to be drawn."""

    conversation: Conversation
    rows: tuple[ViewedRow, ...]
    pairs_left_out: int = 0
    """Turns beyond `MOST_PAIRS`, of which nothing is shown."""

    @property
    def is_exact(self) -> bool:
        """The tokens are known; else all counts are estimates."""
        return all(row.tokens is not None for row in self.rows)

    @property
    def token_count(self) -> int:
        return sum(row.token_count for row in self.rows)

    @property
    def trained_count(self) -> int | None:
        """None where tokens are not known."""
        counts = [row.trained_count for row in self.rows]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def cut_count(self) -> int:
        return sum(row.cut_count for row in self.rows)


def view_conversation(
    conversation: Conversation,
    *,
    encoder: ChatEncoder | None,
    max_seq_length: int,
    cut_targets: CutTargets = "exclude",
) -> ConversationView:
    """The rows that will be trained, then what stands in the file and is in none of them.

    Raises:
        UnsupportedChatTemplate: the tokenizer lacks a token of its chat format.
    """
    shown = _first_pairs(conversation)
    paths = _longest_paths(shown.pairs)
    cut = _CutTargets(shown.pairs if cut_targets == "exclude" else ())
    rows = []
    folds_exactly = encoder.chat_format.folds_exactly if encoder else None
    for row in trained_rows(shown, cut_targets, folds_exactly):
        rest = next((path for path in paths if _begins(path, row.messages)), row.messages)
        paths = [path for path in paths if path is not rest]
        tokens = None if encoder is None else tuple(encoder.tokens(row))
        rows.append(
            ViewedRow(
                messages=tuple(
                    ViewedMessage(
                        message.role,
                        message.content,
                        is_trained=index in row.trained,
                        is_cut_target=cut.is_at(row.messages, index),
                    )
                    for index, message in enumerate(row.messages)
                ),
                tokens=tokens,
                token_count=count_tokens(row, None) if tokens is None else len(tokens),
                max_seq_length=max_seq_length,
                not_fed=cut.viewed(rest, len(row.messages)),
            )
        )
    for path in paths:
        empty = None if encoder is None else ()
        rows.append(ViewedRow((), empty, 0, max_seq_length, cut.viewed(path, 0)))
    left_out = len(conversation.pairs) - len(shown.pairs)
    return ConversationView(conversation, tuple(rows), left_out)


class _CutTargets:
    """Which messages are targets that end in mid-sentence."""

    def __init__(self, pairs: Iterable[TrainingPair]) -> None:
        self._contexts = {(len(pair.context), pair.target) for pair in pairs if is_cut(pair)}

    def is_at(self, messages: Sequence[Message], index: int) -> bool:
        message = messages[index]
        return message.role == "assistant" and (index, message.content) in self._contexts

    def viewed(self, messages: Sequence[Message], start: int) -> tuple[ViewedMessage, ...]:
        """The messages from `start` on, none of them trained."""
        return tuple(
            ViewedMessage(message.role, message.content, is_cut_target=self.is_at(messages, index))
            for index, message in islice(enumerate(messages), start, None)
        )


def _first_pairs(conversation: Conversation) -> Conversation:
    if len(conversation.pairs) <= MOST_PAIRS:
        return conversation
    return Conversation(
        conversation.conversation_id, conversation.pairs[:MOST_PAIRS], conversation.location
    )


def _longest_paths(pairs: Sequence[TrainingPair]) -> list[tuple[Message, ...]]:
    """All that the pairs say, without what another one repeats, in order of turns."""
    paths: list[tuple[Message, ...]] = []
    for pair in pairs:
        answer = () if pair.target is None else (Message("assistant", pair.target),)
        path = (*pair.context, *answer)
        if any(_begins(known, path) for known in paths):
            continue
        paths = [*(known for known in paths if not _begins(path, known)), path]
    return paths


def _begins(path: tuple[Message, ...], beginning: tuple[Message, ...]) -> bool:
    return path[: len(beginning)] == beginning
