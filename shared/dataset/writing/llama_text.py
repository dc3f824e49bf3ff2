"""A row as Llama 3 sees it, written out for reading: every control token by its name.

A text that spells a control token is not one: it gets a backslash, `<\\|eot_id|>`, and one more
where it has backslashes there already, so that what is written without one is a real token. Control
characters are written as `<U+001B>`. Not meant to be read by a machine again.
"""

from __future__ import annotations

import re

from shared.chat_formats.known import LLAMA_3
from shared.clean_text import clean_line
from shared.dataset.folding import Row

HEADER = "------ conversation "
"""Begins the line above each row; a text that begins a line with it gets a backslash, too."""

_OPENING = re.compile(r"<(\\*)\|")
_HEADER = re.compile(rf"^(\\*){re.escape(HEADER)}", re.MULTILINE)
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def row_text(row: Row, location: str, number: int, count: int) -> str:
    """The row behind its header line; it is row `number` of `count` of its conversation."""
    trained = [str(turn) for turn in _trained_turns(row)]
    branch = f", row {number} of {count}" if count > 1 else ""
    header = (
        f"{HEADER}{clean_line(row.conversation_id)}, {location}{branch}; "
        f"trained: {'turn' if len(trained) == 1 else 'turns'} {', '.join(trained)} ------"
    )
    pieces = (
        segment.text if segment.is_special else _harmless(segment.text)
        for segment in LLAMA_3.segments(row)
    )
    return f"{header}\n{''.join(pieces)}\n"


def _trained_turns(row: Row) -> list[int]:
    """Counted from 1, without system messages."""
    before = 0
    turns = []
    for index, message in enumerate(row.messages):
        before += message.role != "system"
        if index in row.trained:
            turns.append(before)
    return turns


def _harmless(text: str) -> str:
    text = _OPENING.sub(r"<\1\\|", text)
    text = _HEADER.sub(rf"\1\\{HEADER}", text)
    return _CONTROL.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)
