"""Findings about single texts, whoever says them: what would be learned besides the words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from shared.chat_format import find_special_tokens
from shared.dataset.checks.personal_data import personal_data_finding
from shared.dataset.checks.walk import Text, around
from shared.dataset.findings import Finding, Severity
from shared.dataset.literal_newlines import literal_newlines

_MOST_NAMED = 4

_JOINERS = "\u200c\u200d"
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 without white space, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls
    "\u200b\u2060\ufeff"  # zero width: space, word joiner, byte order mark
    "\u200c\u200d"  # joiners, see below
    "\ufffd]"  # what a decoder leaves of bytes that it cannot read
)


def text_findings(text: Text) -> Iterator[Finding]:
    """What is wrong with this text."""
    if lines := literal_newlines(text.content):
        yield text.finding(
            Severity.WARNING,
            "literal_newline",
            f"{text.name} holds the two characters \\n where a line break was meant"
            f"{_times(len(lines))}.",
            "`brightrun dataset fix` puts real line breaks there.",
            around(text.content, lines[0]),
        )
    if names := sorted(set(find_special_tokens(text.content))):
        listed = ", ".join(names[:_MOST_NAMED]) + (" ..." if len(names) > _MOST_NAMED else "")
        yield text.finding(
            Severity.WARNING,
            "forged_special_token",
            f"{text.name} spells control tokens ({listed}); they are trained as plain text.",
            "Remove them unless the text is about them.",
            around(text.content, text.content.index(names[0])),
        )
    if found := _invisible(text.content):
        yield text.finding(
            Severity.WARNING,
            "control_characters",
            f"{text.name} holds invisible or broken characters: "
            f"{_code_points(Counter(text.content[position] for position in found))}.",
            "Remove them: nobody who reads the file sees them, and the model learns them.",
            around(text.content, found[0]),
        )
    if personal := personal_data_finding(text):
        yield personal


def _invisible(text: str) -> list[int]:
    """Where characters stand that nobody sees or that a decoder could not read."""
    found = (match.start() for match in _INVISIBLE.finditer(text))
    return [place for place in found if text[place] not in _JOINERS or not _joins(text, place)]


def _joins(text: str, place: int) -> bool:
    """True for a joiner in emoji, or in a Persian or Indic word: it makes one sign of two."""
    before, after = text[max(place - 1, 0) : place], text[place + 1 : place + 2]
    return bool(before and after) and not (before.isascii() or after.isascii())


def _times(count: int) -> str:
    return "" if count == 1 else f", {count} times"


def _code_points(counts: Counter[str]) -> str:
    named = [
        f"U+{ord(character):04X} {unicodedata.name(character, 'control character')}{_times(count)}"
        for character, count in counts.most_common(_MOST_NAMED)
    ]
    return "; ".join(named) + (" ..." if len(counts) > _MOST_NAMED else "")
