"""Splits conversations into train and held-out.

Always by conversation, never by pair: the pairs of one conversation repeat each other's text. The
order is that of a hash of the seed and the conversation's id, so the same conversations land on the
same side in every run, and most stay where they are when others are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from shared.dataset.conversation import Conversation


def split(
    conversations: Sequence[Conversation], eval_fraction: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """(train, held out), both in file order; at least one conversation stays in train.

    With `eval_fraction` above 0 and two conversations or more, at least one is held out.
    """
    ids = {conversation.conversation_id for conversation in conversations}
    ordered = sorted(ids, key=lambda conversation_id: _rank(seed, conversation_id))
    held_out_ids = set(ordered[: _held_out_count(len(ids), eval_fraction)])
    train = [item for item in conversations if item.conversation_id not in held_out_ids]
    held_out = [item for item in conversations if item.conversation_id in held_out_ids]
    return train, held_out


def _held_out_count(count: int, eval_fraction: float) -> int:
    if eval_fraction == 0 or count < 2:
        return 0
    return min(max(round(count * eval_fraction), 1), count - 1)


def _rank(seed: int, conversation_id: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{conversation_id}".encode()).digest()
