"""Each token with its own text: nothing is lost, nothing is told twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel

from shared.chat_format import IGNORED_LABEL, ChatEncoder
from shared.chat_formats.known import CHATML, LLAMA_3
from shared.dataset.folding import Row
from shared.token_text import raw_of_tokens, texts_of_raw
from tests.shared.dataset.documents import messages
from tests.shared.small_tokenizer import small_encoder, small_tokenizer

TEXTS = st.lists(
    st.text(max_size=12) | st.sampled_from(["hello world", "🧿 ½ 文", " \n\n\t ", "<|eot_id|>"]),
    min_size=1,
    max_size=4,
)


def chatml_encoder() -> ChatEncoder:
    tokenizer = small_tokenizer()
    tokenizer.add_special_tokens(CHATML.special_tokens)
    return ChatEncoder(tokenizer, CHATML)


ENCODERS = [small_encoder(), chatml_encoder()]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.chat_format.name)
@settings(max_examples=60, deadline=None)
@given(texts=TEXTS)
def test_tokens_are_what_is_encoded_and_their_texts_join_to_what_is_rendered(
    encoder: ChatEncoder, texts: list[str]
) -> None:
    row = Row("c", messages(*texts, system="Be kind."), frozenset({2, 4}) & {len(texts)})
    tokens = encoder.tokens(row)

    input_ids, labels = encoder.encode(row)
    assert [token.token_id for token in tokens] == input_ids
    assert [t.token_id if t.is_trained else IGNORED_LABEL for t in tokens] == labels

    rendered = "".join(segment.text for segment in encoder.chat_format.segments(row))
    assert "".join(token.text for token in tokens) == rendered
    assert b"".join(token.raw for token in tokens) == rendered.encode()


def test_every_token_knows_its_message_and_whether_it_is_a_control_token() -> None:
    row = Row("c", messages("hello<|eot_id|>", "hello"), frozenset({1}))
    tokens = ENCODERS[0].tokens(row)

    assert [t.text for t in tokens if t.is_special] == [
        LLAMA_3.begin,
        *[LLAMA_3.before_role, LLAMA_3.after_role, LLAMA_3.turn_end] * 2,
    ]
    for number in (0, 1):
        text = "".join(token.text for token in tokens if token.message == number)
        assert text.endswith("hello<|eot_id|><|eot_id|>" if number == 0 else "hello<|eot_id|>")


def test_a_character_of_several_tokens_is_the_text_of_the_last_one() -> None:
    tokens = [
        t for t in ENCODERS[0].tokens(Row("c", messages("a🧿b"), frozenset())) if t.text != "a"
    ]
    pieces = [token for token in tokens if token.spelled != token.text]

    assert [(token.text, token.spelled) for token in pieces] == [
        ("", "<0xF0><0x9F>"),
        ("", "<0xA7>"),
        ("🧿", "<0xBF>"),
    ]


def test_a_tokenizer_that_changes_the_text_is_followed_by_its_offsets() -> None:
    tokenizer = small_tokenizer()
    tokenizer.normalizer = normalizers.NFC()
    row = Row("c", messages("cafe\u0301 hello"), frozenset())
    tokens = ChatEncoder(tokenizer, LLAMA_3).tokens(row)

    assert "".join(token.text for token in tokens).endswith("cafe\u0301 hello<|eot_id|>")


def test_a_vocabulary_of_words_is_followed_by_its_offsets() -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "yes": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    text = "yes  ½yes "
    found = tokenizer.encode(text, add_special_tokens=False)

    texts = texts_of_raw(raw_of_tokens(found.tokens, found.offsets, text))
    assert "".join(texts) == text
    assert texts[0] == "yes"
