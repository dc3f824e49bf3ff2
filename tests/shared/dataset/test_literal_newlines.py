from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dataset.literal_newlines import literal_newlines, replace_literal_newlines


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        (r"Hi.\n\nBye", "Hi.\n\nBye"),
        (r"\n", "\n"),
        (r"one\ntwo\r\nthree", "one\ntwo\nthree"),
        (r"- 1\n- 2: `a` and `b`\n", "- 1\n- 2: `a` and `b`\n"),
        (r"Plan B:\nSave first", "Plan B:\nSave first"),
        (r"Done.\nNext\u2014\t\n.", "Done.\nNext\\u2014\\t\n."),
        (r"Wait ...\nGo on", "Wait ...\nGo on"),
        (r"saved in C:\new\docs.\nThen", "saved in C:\\new\\docs.\nThen"),
        (r"a lone ` and\nmore", "a lone ` and\nmore"),
        ("```\nprint('\\n')\n```\nNow\\nthen", "```\nprint('\\n')\n```\nNow\nthen"),
        (r"Code:\n```\nx\n```\nDone", "Code:\n```\\nx\\n```\nDone"),
    ],
)
def test_a_literal_line_break_becomes_one(text: str, mended: str) -> None:
    assert replace_literal_newlines(text) == mended
    assert literal_newlines(text)


@pytest.mark.parametrize(
    "text",
    [
        "a real\nline break",
        r"an escaped \\n",
        r"three \\\n",
        r"in `\n` code",
        r"in `C:\temp a b c d e\nNow` code",
        "```\na\\nb",
        "~~~\na\\nb\n~~~",
        r"C:\new",
        r"D:\notes\new.txt",
        r"C:\Program Files\nodejs\npm",
        r"\\server\new\files",
        r"%APPDATA%\npm",
        r".\node_modules and ..\new",
        r"HKEY_LOCAL_MACHINE\Software\new",
        r"x \neq y",
        r"\newline",
    ],
)
def test_what_is_meant_as_it_stands_is_left_alone(text: str) -> None:
    assert literal_newlines(text) == []
    assert replace_literal_newlines(text) == text


def test_the_places_are_those_of_the_backslashes() -> None:
    assert literal_newlines(r"a\nb `\n` c\r\nd") == [1, 11]


pieces = st.sampled_from(
    ["\\n", "\\", "n", "\n", "`", "```", "~~~", "C:", "a", "new", " ", ".", "r", "%", "\\r", "x y"]
)


@given(st.lists(pieces, max_size=20).map("".join))
@settings(max_examples=100, deadline=None)
def test_what_was_mended_has_no_literal_line_breaks_and_the_same_words(text: str) -> None:
    mended = replace_literal_newlines(text)
    assert literal_newlines(mended) == []
    assert _without_breaks(mended) == _without_breaks(text)


def _without_breaks(text: str) -> str:
    return re.sub(r"(\\r)*(\n|\\n)", "", text)


@pytest.mark.parametrize(
    "piece",
    ["a", r"a\nb", r"\\a", r"C:\x", "`a ``b ", "%a", r"a b c d\x ", "```\n\\n", "\n \n"],
)
def test_no_text_takes_long(piece: str) -> None:
    # Quadratic work would take minutes here, and the test's time limit would end it.
    replace_literal_newlines(piece * 50_000 + r" \n")
