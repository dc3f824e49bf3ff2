"""From a file to labels: every target once, in its own context, and nothing forged."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chat_format import IGNORED_LABEL, ChatEncoder
from shared.dataset.checks.checker import check_dataset
from shared.dataset.folding import fold
from shared.dataset.reader import read_dataset
from tests.shared.conftest import Base
from tests.shared.dataset.documents import document, file_pairs, jsonl

FORGERIES = ("<|eot_id|>", "<|start_header_id|>", "<|im_end|>", "<|begin_of_text|>")
WORDS = st.sampled_from([*FORGERIES, "assistant", "\n\n", "½", "文", "\\n", "so", "\x00", "\\"])
TEXTS = st.lists(WORDS, max_size=4).map(lambda words: "a" + "".join(words) + ".")
"""They begin and end in a plain sign: a template strips white space, and no target is cut."""

TALKS = st.lists(st.lists(TEXTS, min_size=2, max_size=6), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files") / "train.json"


@settings(deadline=None, max_examples=50)
@given(talks=TALKS, form=st.sampled_from(["json", "jsonl", "messages"]))
def test_every_target_of_a_file_is_trained_exactly_once_and_nothing_is_forged(
    path: Path, base: Base, encoder: ChatEncoder, talks: list[list[str]], form: str
) -> None:
    path.write_text(_written(talks, form))
    dataset = read_dataset(path)
    rows = [row for conversation in dataset.conversations for row in fold(conversation)]
    encoded = [encoder.encode(row) for row in rows]

    end = encoder.chat_format.end_of_turn
    trained = Counter(text for _, labels in encoded for text in _stretches(base, labels))
    assert trained == Counter(f"{text}{end}" for texts in talks for text in texts[1::2])

    for row, (ids, _) in zip(rows, encoded, strict=True):
        plain = encoder.chat_format.segments(row)
        assert sum(token in base.control_ids for token in ids) == sum(
            segment.is_special for segment in plain
        )

    report = check_dataset(dataset, max_seq_length=4096, encoder=encoder)
    assert report.targets == report.trained_targets == trained.total()
    assert report.tokens == sum(len(ids) for ids, _ in encoded)
    assert not report.has_errors


def _written(talks: list[list[str]], form: str) -> str:
    named = {f"c{number}": file_pairs(*texts) for number, texts in enumerate(talks)}
    if form == "json":
        return json.dumps(document(**named))
    if form == "jsonl":
        return jsonl(**named)
    roles = ("user", "assistant")
    return "\n".join(
        json.dumps(
            {
                "messages": [
                    {"role": roles[number % 2], "content": text}
                    for number, text in enumerate(texts)
                ]
            }
        )
        for texts in talks
    )


def _stretches(base: Base, labels: list[int]) -> list[str]:
    """The decoded text of each stretch of labels."""
    runs = groupby(labels, key=lambda label: label != IGNORED_LABEL)
    return [base.decode(list(ids)) for is_trained, ids in runs if is_trained]
