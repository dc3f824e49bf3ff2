"""A conversation in lines: nothing is lost, nothing invisible, nothing too wide."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from shared.clean_text import clean
from shared.dataset.conversation import Conversation
from shared.dataset.folding import fold
from shared.dataset.token_view import view_conversation
from tests.shared.dataset.documents import asked, branched, talk
from tests.shared.small_tokenizer import small_encoder
from tests.tui.hostile import HOSTILE
from tui.views.token_text import Detail, Line, Look, lay_out, visible

ENCODER = small_encoder()
TEXTS = st.lists(
    st.text(max_size=40) | st.sampled_from(["hello world " * 9, "文字" * 30, "a\n\n b\t", HOSTILE]),
    min_size=2,
    max_size=4,
)


def lines_of(
    conversation: Conversation,
    width: int = 60,
    detail: Detail = Detail.TEXT,
    *,
    max_seq_length: int = 4096,
    has_tokenizer: bool = True,
) -> list[Line]:
    encoder = ENCODER if has_tokenizer else None
    view = view_conversation(conversation, encoder=encoder, max_seq_length=max_seq_length)
    return lay_out(view, width, detail)


def texts_of(lines: list[Line]) -> list[str]:
    return ["".join(span.text for span in line) for line in lines]


def stretch(lines: list[Line], look: Look) -> str:
    return "".join(span.text for line in lines for span in line if span.look is look)


@settings(max_examples=40, deadline=None)
@given(texts=TEXTS, width=st.integers(2, 80), max_seq_length=st.integers(1, 200))
def test_every_line_fits_is_safe_to_draw_and_holds_all_that_is_not_blank(
    texts: list[str], width: int, max_seq_length: int
) -> None:
    conversation = talk("c", *texts)
    for detail in Detail:
        lines = lines_of(conversation, width, detail, max_seq_length=max_seq_length)
        for text in texts_of(lines):
            assert cell_len(text) <= width
            assert clean(text) == text
            assert text.isprintable()
            assert text

    view = view_conversation(conversation, encoder=ENCODER, max_seq_length=max_seq_length)
    rendered = "".join(token.text for row in view.rows for token in row.tokens or ())
    lines = lines_of(conversation, width, max_seq_length=max_seq_length)
    drawn = "".join(
        span.text for line in lines for span in line if span.look not in (Look.MARK, Look.NOT_FED)
    )
    assert drawn.replace(" ", "") == visible(rendered).replace("\n", "↵").replace(" ", "")


def test_messages_begin_on_lines_of_their_own_and_line_breaks_are_seen() -> None:
    assert texts_of(lines_of(talk("c", "hello\n\nyou", "Hi."))) == [
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>↵",
        "↵",
        "hello↵",
        "↵",
        "you<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>↵",
        "↵",
        "Hi.<|eot_id|>",
    ]


def test_what_is_trained_is_told_apart_from_context_and_control_tokens() -> None:
    lines = lines_of(talk("c", "hello <|eot_id|>", "Hi."))

    assert stretch(lines, Look.TRAINED) == "Hi."
    assert stretch(lines, Look.TRAINED_SPECIAL) == "<|eot_id|>"
    assert stretch(lines, Look.CONTEXT) == "user↵↵hello <|eot_id|>assistant↵↵"
    assert stretch(lines, Look.SPECIAL).count("<|eot_id|>") == 1


def test_lines_break_between_words() -> None:
    lines = lines_of(talk("c", "one two three fourteen", "Hi."), width=12)
    texts = [line.rstrip() for line in texts_of(lines)]
    assert texts[texts.index("one two") :][:3] == ["one two", "three", "fourteen"]


def test_what_is_beyond_max_seq_length_is_marked_and_begins_behind_a_line_that_says_so() -> None:
    conversation = talk("c", "hello", "Hi.")
    count = view_conversation(conversation, encoder=ENCODER, max_seq_length=1).token_count
    lines = lines_of(conversation, max_seq_length=count - 2)

    cut = [span.text for line in lines for span in line if span.is_cut]
    assert cut == [".", "<|eot_id|>"]
    place = next(n for n, line in enumerate(lines) if line[0].is_cut)
    assert texts_of(lines)[place - 1] == f"── max_seq_length {count - 2}: the rest does not fit ──"


def test_tokens_are_set_apart_by_turns_and_have_their_ids_behind_them() -> None:
    conversation = talk("c", "hello world", "a🧿")
    lines = lines_of(conversation, detail=Detail.TOKENS)
    [spans] = [line for line in lines if line[0].text == "hello"]
    assert [span.text for span in spans[:3]] == ["hello", "·w", "o"]
    assert spans[0].is_odd is not spans[1].is_odd is not spans[2].is_odd

    text = "".join(texts_of(lines_of(conversation, detail=Detail.IDS)))
    tokens = ENCODER.tokens(fold(conversation)[0])
    hello, following = [token.token_id for token in tokens if token.text in ("hello", " w")]
    assert f"hello⟨{hello}⟩·w⟨{following}⟩o⟨" in text
    assert "<0xF0><0x9F>⟨" in text
    assert "<0xBF>⟨" in text


def test_an_id_stays_on_the_line_of_its_token() -> None:
    lines = texts_of(lines_of(talk("c", "hello world " * 20, "Hi."), width=30, detail=Detail.IDS))
    assert not any(line.startswith("⟨") for line in lines)


def test_what_is_not_fed_and_why_an_answer_is_not_trained_is_said() -> None:
    lines = texts_of(lines_of(talk("c", "hello", "Cut\\", "And?", "Hi.", "So?", "Cut too\\")))

    first_cut = lines.index("── ends in mid-sentence: not trained, only context ──")
    assert lines[first_cut + 1].startswith("<|start_header_id|>assistant")
    assert lines[-5:] == [
        "── not fed to the model: nothing trained follows ──",
        "── user ──",
        "So?",
        "── assistant ──",
        "Cut too\\",
    ]


def test_branches_are_numbered() -> None:
    twice = branched("c", asked(2, "hello", target="Hi."), asked(2, "Other", target="Hm."))
    lines = texts_of(lines_of(twice))
    assert [line for line in lines if "row" in line] == [
        "── row 1 of 2, 28 tokens ──",
        "── row 2 of 2, 31 tokens ──",
    ]


def test_without_a_tokenizer_the_text_stands_under_its_roles() -> None:
    lines = lines_of(talk("c", "hello", "Hi."), has_tokenizer=False)
    assert texts_of(lines) == ["── user ──", "hello", "── assistant ──", "Hi."]
    assert stretch(lines, Look.TRAINED) == "Hi."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ½ 文", "plain ½ 文"),
        ("a\tb\nc", "a→b\nc"),
        ("\x1b]52;c;aGk=\x07", "<U+001B>]52;c;aGk=<U+0007>"),
        ("\u202eevil\u200b", "<U+202E>evil<U+200B>"),
        ("❤\ufe0f", "❤<U+FE0F>"),
        ("a\u00a0b\r", "a<U+00A0>b<U+000D>"),
    ],
)
def test_what_could_not_be_seen_is_spelled(text: str, shown: str) -> None:
    assert visible(text) == shown
