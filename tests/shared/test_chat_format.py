"""Token for token the tokenizer's own template, with the loss on the targets and nothing forged."""

from __future__ import annotations

import copy
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from shared.chat_format import (
    IGNORED_LABEL,
    ChatEncoder,
    choose_chat_format,
    find_special_tokens,
)
from shared.chat_formats.known import CHATML, LLAMA_3
from shared.dataset.conversation import Message, Role
from shared.dataset.folding import Row, fold, unfold
from shared.dataset.reader import read_dataset
from shared.dataset.sample import SAMPLE_JSON
from shared.errors import UnsupportedChatTemplate
from tests.shared.conftest import Base
from tests.shared.dataset.documents import messages, talk

SAMPLE = read_dataset(SAMPLE_JSON).conversations
SAMPLE_ROWS = [row for conversation in SAMPLE for row in fold(conversation)]

quick = settings(deadline=None)

WHITE_SPACE = (" ", "\n", "\n\n", "\t", "\r\n", "\x1c", "\x85", "\xa0", "\u2028", "\u200b")
ODD_WORDS = (
    "🚀",
    "👩\u200d🚀",
    "文",
    "½",
    "—",
    "e\u0301",
    "\x00",
    "\\n",
    "don't",
    "3141",
    "<|",
    "|>",
)
PIECES = st.sampled_from([*WHITE_SPACE, *ODD_WORDS, "user", "assistant"])
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=8).map("".join)
TALKS = st.lists(TEXTS, min_size=1, max_size=5)

CONTROL_TOKENS = (
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|im_start|>",
    "<|im_end|>",
)
FORGERIES = st.lists(st.sampled_from([*CONTROL_TOKENS, "assistant", "\n\n", " ", "hi"])).map(
    "".join
)


def folded(*texts: str, system: str = "") -> Row:
    [row] = fold(talk("c", *texts, system=system))
    return row


def trained_texts(base: Base, encoder: ChatEncoder, row: Row) -> list[str]:
    """The decoded text of each stretch of labels."""
    _, labels = encoder.encode(row)
    stretches = groupby(labels, key=lambda label: label != IGNORED_LABEL)
    return [base.decode(list(ids)) for is_trained, ids in stretches if is_trained]


def test_each_tokenizer_gets_its_format(llama: Base, chatml: Base) -> None:
    assert llama.encoder.chat_format is LLAMA_3
    assert chatml.encoder.chat_format is CHATML


# --- parity with the template -----------------------------------------------------------------


def test_the_sample_is_encoded_as_the_template_does(base: Base, encoder: ChatEncoder) -> None:
    for row in SAMPLE_ROWS:
        assert encoder.encode(row)[0] == base.render(row.messages)


@quick
@given(texts=TALKS, system=TEXTS)
def test_any_text_is_encoded_as_the_template_does(
    base: Base, encoder: ChatEncoder, texts: list[str], system: str
) -> None:
    chat = messages(*texts, system=system)
    assert encoder.encode(Row("c", chat, frozenset()))[0] == base.render(chat)


@quick
@given(texts=TALKS)
def test_a_prompt_is_encoded_as_the_template_does(
    base: Base, encoder: ChatEncoder, texts: list[str]
) -> None:
    chat = messages(*texts)
    assert encoder.encode_prompt(chat) == base.render(chat, is_prompt=True)


def test_an_answer_begins_where_its_prompt_ends(base: Base, encoder: ChatEncoder) -> None:
    row = folded("Hi", "Hello there")
    prompt = encoder.encode_prompt(row.messages[:1])
    input_ids, labels = encoder.encode(row)
    assert input_ids[: len(prompt)] == prompt
    assert set(labels[: len(prompt)]) == {IGNORED_LABEL}
    assert labels[len(prompt)] == input_ids[len(prompt)]


def test_a_mismatch_with_the_template_is_seen(base: Base, encoder: ChatEncoder) -> None:
    chat = messages("Hi", "Hello")
    assert encoder.matches_template(chat, base.render)
    tokenizer = copy.deepcopy(base.tokenizer)
    tokenizer.chat_template = f"{tokenizer.chat_template} "
    assert not encoder.matches_template(chat, Base(tokenizer).render)


# --- labels -----------------------------------------------------------------------------------


def test_labels_cover_the_targets_of_the_sample_and_their_ends(
    base: Base, encoder: ChatEncoder
) -> None:
    end = encoder.chat_format.end_of_turn
    for conversation in SAMPLE:
        [row] = fold(conversation)
        targets = [f"{pair.target}{end}" for pair in conversation.targets]
        assert trained_texts(base, encoder, row) == targets


@quick
@given(target=TEXTS.filter(bool))
def test_labels_cover_any_target_and_its_end(base: Base, encoder: ChatEncoder, target: str) -> None:
    chat_format = encoder.chat_format
    content = target.strip() if chat_format.strips_content else target
    [trained] = trained_texts(base, encoder, folded("Hi", target))
    exact = content + chat_format.end_of_turn
    # A line break at the start of the content may be merged with the header's into one token.
    assert trained == exact or (content[:1].isspace() and trained == chat_format.header_end + exact)


@quick
@given(texts=TALKS)
def test_a_label_is_its_own_input_id_or_ignored(
    base: Base, encoder: ChatEncoder, texts: list[str]
) -> None:
    row = Row("c", messages(*texts), frozenset(range(1, len(texts), 2)))
    input_ids, labels = encoder.encode(row)
    assert len(labels) == len(input_ids)
    assert all(label in (IGNORED_LABEL, i) for label, i in zip(labels, input_ids, strict=True))


def test_an_untrained_answer_has_no_labels(base: Base, encoder: ChatEncoder) -> None:
    [row] = fold(talk("c", "Hi", "Cut\\", "Well?", "Fine"), lambda pair: pair.target != "Cut\\")
    assert trained_texts(base, encoder, row) == ["Fine" + encoder.chat_format.end_of_turn]


# --- folding ----------------------------------------------------------------------------------


def test_a_folded_row_begins_with_the_ids_of_each_of_its_pairs(encoder: ChatEncoder) -> None:
    for conversation in SAMPLE:
        [row] = fold(conversation)
        input_ids, labels = encoder.encode(row)
        positions = []
        for single in unfold(conversation):
            single_ids, single_labels = encoder.encode(single)
            assert input_ids[: len(single_ids)] == single_ids
            positions += [t for t, label in enumerate(single_labels) if label != IGNORED_LABEL]
        assert positions == [t for t, label in enumerate(labels) if label != IGNORED_LABEL]


# --- forged control tokens --------------------------------------------------------------------


@quick
@given(role=st.sampled_from(["system", "user", "assistant"]), forged=FORGERIES)
def test_no_text_of_any_role_forges_a_control_token(
    base: Base, encoder: ChatEncoder, role: Role, forged: str
) -> None:
    def controls(content: str) -> list[int]:
        row = Row("c", (*messages("Hi"), Message(role, content)), frozenset({1}))
        return [i for i in encoder.encode(row)[0] if i in base.control_ids]

    assert controls(forged) == controls("plain")


def test_the_forgery_is_one_that_the_template_falls_for(base: Base, encoder: ChatEncoder) -> None:
    forged = messages("Hi " + "".join(CONTROL_TOKENS))
    plain = messages("Hi")
    seen = [i for i in base.render(forged) if i in base.control_ids]
    assert len(seen) > len([i for i in base.render(plain) if i in base.control_ids])
    assert not encoder.matches_template(forged, base.render)


@pytest.mark.parametrize(
    "token",
    [*CONTROL_TOKENS, "[INST]", "[/SYSTEM_PROMPT]", "<<SYS>>", "</s>", "</think>", "<end_of_turn>"],
)
def test_the_spelling_of_a_control_token_is_found(token: str) -> None:
    assert find_special_tokens(f"a {token} b {token}") == [token, token]


def test_plain_text_spells_no_control_token() -> None:
    assert find_special_tokens("a <| |> c <b> [x] <|é|> s> 1 < 2 | 3 > 2") == []


# --- tokenizers -------------------------------------------------------------------------------


def test_an_unknown_template_is_refused_by_name_of_those_known(llama: Base) -> None:
    tokenizer = copy.deepcopy(llama.tokenizer)
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    with pytest.raises(UnsupportedChatTemplate, match=r"llama-3, llama-3\.1, chatml"):
        choose_chat_format(tokenizer.backend_tokenizer, Base(tokenizer).render)


def test_a_tokenizer_without_the_formats_tokens_is_refused(llama: Base) -> None:
    tokenizer = llama.tokenizer.backend_tokenizer
    encoder = ChatEncoder(tokenizer, CHATML)
    with pytest.raises(UnsupportedChatTemplate, match=r"has no <\|im_start\|>, which the chatml"):
        encoder.encode(folded("Hi", "Hello"))


def test_the_given_tokenizer_is_left_as_it_was_and_its_truncation_does_not_count(
    llama: Base,
) -> None:
    tokenizer = Tokenizer.from_str(llama.tokenizer.backend_tokenizer.to_str())
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=10_000)
    before = tokenizer.to_str()
    row = SAMPLE_ROWS[0]
    assert ChatEncoder(tokenizer, LLAMA_3).encode(row)[0] == llama.render(row.messages)
    assert tokenizer.to_str() == before
