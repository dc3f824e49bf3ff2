"""How many tokens rows have: exactly with the base model's tokenizer, else from characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shared.chat_format import ChatEncoder, TokenCounts
from shared.dataset.folding import Row

CHARACTERS_PER_TOKEN = 4.4
"""For estimates: 72 real conversations, Llama 3 tokenizer, 2026-11 (facts of the format)."""

_CONTROL_TOKENS = 5
"""Of a message, its role included: Llama 3's format; ChatML has as many."""


def count_tokens(row: Row, encoder: ChatEncoder | None) -> int:
    """Tokens of one row; an estimate from its characters where there is no encoder."""
    return count_rows([row], encoder)[0].total


def count_rows(rows: Sequence[Row], encoder: ChatEncoder | None) -> list[TokenCounts]:
    """The counts of each row; estimates where there is no encoder."""
    return [_estimate(row) for row in rows] if encoder is None else encoder.count_tokens(rows)


def header_tokens(encoder: ChatEncoder | None) -> int:
    """Tokens of an assistant's message before its text."""
    if encoder is None:
        return _CONTROL_TOKENS - 1
    return encoder.header_tokens


def _estimate(row: Row) -> TokenCounts:
    # Rounded as a whole, not by message: many short messages would add up to a wrong sum.
    ends = [1]
    characters = 0
    for number, message in enumerate(row.messages, start=1):
        characters += len(message.content)
        ends.append(math.ceil(characters / CHARACTERS_PER_TOKEN) + _CONTROL_TOKENS * number + 1)
    messages = [end - start for start, end in zip([0, *ends[1:-1]], ends[1:], strict=True)]
    trained = sum(len(row.messages[index].content) for index in row.trained)
    return TokenCounts(
        tuple(messages), math.ceil(trained / CHARACTERS_PER_TOKEN) + len(row.trained)
    )
