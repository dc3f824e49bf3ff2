"""Token for token the vendors' templates, for rows and for prompts, whatever the texts are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.base_models import read_encoder
from shared.chat_format import (
    IGNORED_LABEL,
    ChatEncoder,
    choose_chat_format,
    find_special_tokens,
)
from shared.dataset.conversation import Message, Role
from shared.dataset.folding import Row, unfold
from shared.errors import UnsupportedChatTemplate
from tests.shared.chat_formats.families import FAMILIES, REFUSES_SYSTEM, family_tokenizer
from tests.shared.conftest import Base
from tests.shared.dataset.documents import messages, talk

quick = settings(deadline=None, max_examples=15)

PIECES = st.sampled_from(
    [
        *" \n\t",
        "\n\n",
        "\xa0",
        "🚀",
        "文",
        "½",
        "e\u0301",
        "\x00",
        "don't",
        "3141",
        "<|",
        "system",
        "so",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=6), max_size=6).map("".join)
TALKS = st.lists(TEXTS, min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0)

CONTROL = sorted({token for known in FAMILIES.values() for token in known.special_tokens})


def controls(base: Base, ids: Sequence[int]) -> list[int]:
    """Those of the ids that are control tokens."""
    added = base.tokenizer.backend_tokenizer.get_added_tokens_decoder()
    return [token for token in ids if token in added]


def stretches(labels: list[int]) -> list[list[int]]:
    """Each stretch of labels."""
    runs = groupby(labels, key=lambda label: label != IGNORED_LABEL)
    return [list(ids) for is_trained, ids in runs if is_trained]


def test_each_template_gets_its_format(family: str, encoder: ChatEncoder) -> None:
    assert encoder.chat_format.name == FAMILIES[family].name


def test_the_laptop_takes_the_format_that_the_trainer_proves(
    family: str, base: Base, encoder: ChatEncoder, tmp_path: Path
) -> None:
    base.tokenizer.save_pretrained(tmp_path)
    found = read_encoder(tmp_path / "tokenizer.json", family)
    assert found is not None
    if family.startswith("mistral_v7"):  # Its default system prompt is put together from pieces.
        assert replace(encoder.chat_format, default_system=None) == found.chat_format
    else:
        assert found.chat_format == encoder.chat_format
    row = Row("c", messages("Hi", "Hello", system="Be kind."), frozenset({2}))
    assert found.encode(row) == encoder.encode(row)


@quick
@given(texts=TALKS, system=st.just("") | TEXTS)
def test_any_conversation_is_encoded_as_the_template_does(
    family: str, base: Base, encoder: ChatEncoder, texts: list[str], system: str
) -> None:
    chat = messages(*texts, system="" if family in REFUSES_SYSTEM else system)
    if any(encoder.spells_control_token(message.content) for message in chat):
        return
    assert encoder.matches_template(chat, base.render)
    assert encoder.encode_prompt(chat[:-1]) == base.render(chat[:-1], is_prompt=True)


def test_an_answer_begins_where_its_prompt_ends(encoder: ChatEncoder) -> None:
    for system in ("", "Be kind."):
        for row in unfold(talk("c", "Hi", "Hello there", "Well?", "Fine", system=system)):
            ids, labels = encoder.encode(row)
            prompt = encoder.encode_prompt(row.messages[:-1])
            assert ids[: len(prompt)] == prompt
            assert set(labels[: len(prompt)]) == {IGNORED_LABEL}
            assert labels[len(prompt)] == ids[len(prompt)]


def test_an_answer_and_its_end_are_trained_and_nothing_else(
    base: Base, encoder: ChatEncoder
) -> None:
    row = Row("c", messages("Hi", "Hello there.", "Well?", "Fine."), frozenset({1, 3}))
    trained = [base.decode(ids) for ids in stretches(encoder.encode(row)[1])]
    end = encoder.chat_format.end_of_turn
    assert [text.replace(" ", "") for text in trained] == [f"Hellothere.{end}", f"Fine.{end}"]


def test_counts_are_those_of_the_encoding(encoder: ChatEncoder) -> None:
    rows = [
        Row("c", messages("Hi", "Hello", "Well?", "Fine", system=system), frozenset({3}))
        for system in ("", "Be kind.")
    ]
    for row, counts in zip(rows, encoder.count_tokens(rows), strict=True):
        ids, labels = encoder.encode(row)
        assert (counts.total, counts.supervised) == (
            len(ids),
            sum(label != IGNORED_LABEL for label in labels),
        )
        assert [token.token_id for token in encoder.tokens(row)] == ids
        assert len(counts.messages) == len(row.messages)


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_no_text_forges_a_control_token(base: Base, encoder: ChatEncoder, role: Role) -> None:
    def encoded(content: str) -> list[int]:
        chat = messages("Hi", "Hello", system="Be kind.")
        spoken = tuple(Message(item.role, content) if item.role == role else item for item in chat)
        return encoder.encode(Row("c", spoken, frozenset({2})))[0]

    assert encoder.spells_control_token("".join(CONTROL))
    for forged in (" ".join(CONTROL), "".join(CONTROL), "a</think>b", "<think>a<think>b</think>"):
        assert controls(base, encoded(forged)) == controls(base, encoded("plain"))


# --- what is fixed, and what is refused -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("llama3_1", "Today Date: 26 Jul 2024"),
        ("llama3_2", "Today Date: 26 Jul 2024"),
        ("mistral_v7_tekken", "Today is 2024-07-26."),
    ],
)
def test_a_template_that_asks_for_the_date_is_told_the_same_every_day(name: str, date: str) -> None:
    base = Base(family_tokenizer(name))
    assert date in base.decode(base.render(messages("Hi")))
    assert date in base.decode(base.encoder.encode_prompt(messages("Hi")))


def test_a_template_with_a_date_of_its_own_is_told_ours() -> None:
    tokenizer = copy.deepcopy(family_tokenizer("llama3_1"))
    tokenizer.chat_template = str(tokenizer.chat_template).replace("26 Jul 2024", "01 Jan 2030")
    assert Base(tokenizer).encoder.chat_format.name == "llama-3.1"


@pytest.mark.parametrize("token", CONTROL)
def test_every_control_token_of_a_format_looks_like_one(token: str) -> None:
    # Where a vocabulary lists it without calling it special, its look is what keeps text off it.
    assert find_special_tokens(f"a{token}b") == [token]


def test_a_conversation_that_the_template_refuses_is_refused_with_its_words() -> None:
    base = Base(family_tokenizer("gemma"))
    with pytest.raises(UnsupportedChatTemplate, match=r"refuses .*: System role not supported"):
        base.encoder.matches_template(messages("Hi", "Hello", system="Be kind."), base.render)


def test_a_default_system_prompt_of_the_template_is_part_of_every_row_without_one() -> None:
    base = Base(family_tokenizer("qwen2_5"))
    row = Row("c", messages("Hi", "Hello"), frozenset({1}))
    assert "You are Qwen" in base.decode(base.encoder.encode(row)[0])
    own = Row("c", messages("Hi", "Hello", system="Be kind."), frozenset({2}))
    assert "You are Qwen" not in base.decode(base.encoder.encode(own)[0])


def test_a_template_that_lets_the_model_think_whatever_it_is_asked_is_refused() -> None:
    tokenizer = copy.deepcopy(family_tokenizer("qwen3"))
    tokenizer.chat_template = str(tokenizer.chat_template).replace(
        "enable_thinking is false", "false"
    )
    base = Base(tokenizer)
    with pytest.raises(UnsupportedChatTemplate, match="none of those that can be trained"):
        choose_chat_format(tokenizer.backend_tokenizer, base.render)


# --- reasoning --------------------------------------------------------------------------------


REASONED = "<think>\nWhat is kind?\n</think>\n\nHello."


def test_reasoning_is_trained_where_it_is_the_answer_and_left_out_of_the_history() -> None:
    base = Base(family_tokenizer("qwen3"))
    chat = messages("Hi", REASONED, "Well?", REASONED)
    row = Row("c", chat, frozenset({3}))
    ids, labels = base.encoder.encode(row)
    assert ids == base.render(chat)
    assert base.decode(ids).count("What is kind?") == 1
    assert [base.decode(ids) for ids in stretches(labels)] == [f"{REASONED}<|im_end|>"]


def test_an_answer_without_reasoning_is_trained_behind_an_empty_block() -> None:
    base = Base(family_tokenizer("qwen3"))
    ids, labels = base.encoder.encode(Row("c", messages("Hi", "Hello."), frozenset({1})))
    assert base.decode(ids).endswith(
        "<|im_start|>assistant\n<think>\n\n</think>\n\nHello.<|im_end|>\n"
    )
    assert [base.decode(ids) for ids in stretches(labels)] == ["Hello.<|im_end|>"]
