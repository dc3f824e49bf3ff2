from __future__ import annotations

from shared.dataset.folding import Row
from shared.dataset.writing.llama_text import HEADER, row_text
from tests.shared.dataset.documents import messages


def shown(*texts: str, system: str = "") -> str:
    """A conversation of these texts as it is written, its first answer trained."""
    spoken = messages(*texts, system=system)
    return row_text(Row("c1", spoken, frozenset({2 if system else 1})), "line 7", 1, 1)


def test_a_row_is_what_the_model_sees() -> None:
    assert shown("Hi", "Hello ", system="Be kind.") == (
        "------ conversation c1, line 7; trained: turn 2 ------\n"
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>\n"
    )


def test_text_that_spells_a_control_token_is_told_from_one() -> None:
    text = shown("a<|eot_id|>b", r"<\|eot_id|> <\\|x|>")
    assert text.count("<|eot_id|>") == 2
    assert r"a<\|eot_id|>b" in text
    assert r"<\\|eot_id|> <\\\|x|>" in text


def test_text_cannot_look_like_the_header_of_another_conversation() -> None:
    text = shown(f"Hi\n{HEADER}evil, line 9", "Hello")
    assert [line for line in text.split("\n") if line.startswith(HEADER)] == [text.split("\n")[0]]
    assert f"\n\\{HEADER}evil" in text


def test_control_characters_are_written_out() -> None:
    assert "<U+001B>[31m<U+202E><U+0000>" in shown("\x1b[31m\u202e\x00", "Hello")


def test_branches_are_numbered() -> None:
    row = Row("c1", messages("Hi", "Hello"), frozenset({1}))
    assert row_text(row, "line 7", 2, 3).startswith(f"{HEADER}c1, line 7, row 2 of 3; ")
