"""Folded or not, every target is trained on the same tokens behind the same tokens."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given, settings

from shared.chat_format import IGNORED_LABEL, ChatEncoder
from shared.dataset.conversation import Conversation
from shared.dataset.cut_targets import trained_rows
from shared.dataset.folding import Row, fold, separate, unfold
from tests.shared.chat_formats.families import family_tokenizer
from tests.shared.conftest import Base
from tests.shared.dataset.documents import talk
from tests.shared.dataset.test_folding import conversations

quick = settings(deadline=None, max_examples=25)

LONG_TALK = ("Hi", "Hello", "Well?", "Fine", "So?", "Bye")


def trained_tokens(
    encoder: ChatEncoder, rows: list[Row]
) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(ids before the target, ids of the target) of every target of the rows."""
    found: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for row in rows:
        ids, labels = encoder.encode(row)
        place = 0
        for is_trained, run in groupby(labels, key=lambda label: label != IGNORED_LABEL):
            target = tuple(run)
            if is_trained:
                found[tuple(ids[:place]), target] += 1
            place += len(target)
    return found


@quick
@given(conversation=conversations())
def test_folded_rows_train_the_same_tokens_in_the_same_context(
    encoder: ChatEncoder, conversation: Conversation
) -> None:
    rows = trained_rows(conversation, "train", encoder.chat_format.folds_exactly)
    alone = unfold(conversation)
    assert trained_tokens(encoder, rows) == trained_tokens(encoder, alone)
    assert trained_tokens(encoder, rows).total() == len(conversation.targets)
    for row in fold(conversation):  # And none is taken apart without need.
        is_exact = trained_tokens(encoder, [row]) == trained_tokens(encoder, separate(row))
        assert encoder.chat_format.folds_exactly(row) == is_exact


@pytest.mark.parametrize(
    ("name", "system", "rows"),
    [
        ("llama3_1", "Be kind.", 1),
        ("qwen2_5", "", 1),
        ("gemma3", "Be kind.", 1),
        ("mistral_v7_tekken", "Be kind.", 1),
        ("mistral_v3", "", 1),
        ("mistral_v3", "Be kind.", 3),
        ("mistral_v3_tekken", "Be kind.", 3),
        ("qwen3", "", 3),
        ("qwen3_instruct_2507", "", 1),
    ],
)
def test_a_conversation_is_one_row_unless_the_format_forbids_it(
    name: str, system: str, rows: int
) -> None:
    chat_format = Base(family_tokenizer(name)).encoder.chat_format
    found = trained_rows(talk("c", *LONG_TALK, system=system), "exclude", chat_format.folds_exactly)
    assert len(found) == rows
    assert sum(len(row.trained) for row in found) == 3


@pytest.mark.parametrize("name", ["mistral_v3", "qwen3"])
def test_folding_by_texts_alone_would_train_something_else(name: str) -> None:
    encoder = Base(family_tokenizer(name)).encoder
    conversation = talk("c", *LONG_TALK, system="Be kind.")
    folded = trained_tokens(encoder, fold(conversation))
    assert folded != trained_tokens(encoder, unfold(conversation))
