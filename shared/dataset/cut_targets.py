"""Targets that end in mid-sentence, and the rows that are trained with or without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from shared.dataset.conversation import Conversation, TrainingPair
from shared.dataset.folding import Row, fold, separate

CutTargets = Literal["exclude", "train"]


def is_cut(pair: TrainingPair) -> bool:
    """True if the target ends in mid-sentence, as 8 % of the targets in real files do.

    The sign is a stray backslash at the end: what is left of a truncated escape.
    """
    return pair.target is not None and ends_cut(pair.target)


def ends_cut(text: str) -> bool:
    """The same of a target's text."""
    return text.rstrip().endswith("\\")


def trained_rows(
    conversation: Conversation,
    cut_targets: CutTargets,
    folds_exactly: Callable[[Row], bool] | None = None,
) -> list[Row]:
    """The rows of a conversation that will be trained.

    `folds_exactly` is the chat format's; a row that it says no to is fed as one row a target.
    """
    rows = fold(conversation, lambda pair: cut_targets == "train" or not is_cut(pair))
    if folds_exactly is None:
        return rows
    return [part for row in rows for part in ([row] if folds_exactly(row) else separate(row))]
