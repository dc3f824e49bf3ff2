"""Finds the two characters `\\n` where a line break was meant, and puts the line break there.

Exports that escape a text twice leave them in one of four targets of real files. Not meant are:
`\\n` in code, behind another backslash, in a Windows path (`C:\\new`), and the few LaTeX commands
whose rest is no word. Where a path may be meant, it is: the repair must be safe, not complete.
Knows nothing of files or conversations.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

_CANDIDATE = re.compile(r"(?<!\\)(?:\\r)?\\n(?!(?:abla|eq|otin|ewline|ewcommand|oindent)(?![a-z]))")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n")
_TICKS = re.compile(r"`+")

# In a path the name goes on in lower case: "Plan B:\nSave first" is no path, "C:\new" is one.
_SEPARATOR = r"\\(?!n(?![a-z]))"
_NAME = r"[^\s\\/:*?\"<>|`]++"
_WORD = r"[\w.$-]++"
_PATH = re.compile(
    # C:\ \\server\ .\ ..\ %NAME%\, then names, which may hold spaces: \Program Files\new
    rf"(?:(?:(?<!\w)|(?<=\\n))[A-Za-z]:|(?<![\w\\])\\\\{_NAME}|(?<!\S)\.{{1,2}}|%\w++%)"
    rf"(?:{_SEPARATOR}{_NAME}(?:(?: {_NAME}){{1,3}}(?={_SEPARATOR}))?)+"
    # Without such a beginning, one of the names starts with a letter that no escape has.
    rf"|(?<![\w.$\\-]){_WORD}(?:{_SEPARATOR}{_WORD})*?\\[A-Za-mo-qsv-z]{_WORD}"
    rf"(?:{_SEPARATOR}{_WORD})*"
)


def literal_newlines(text: str) -> list[int]:
    """Where in `text` a literal `\\n` (or `\\r\\n`) stands for a line break, in order."""
    return [match.start() for match in _matches(text)]


def replace_literal_newlines(text: str) -> str:
    """`text` with line breaks in these places; nothing is found in the result."""
    # A new line break may end a code span that stood open, so look again.
    while matches := list(_matches(text)):
        pieces = [text[: matches[0].start()]]
        for match, following in pairwise(matches):
            pieces.append(text[match.end() : following.start()])
        pieces.append(text[matches[-1].end() :])
        text = "\n".join(pieces)
    return text


def _matches(text: str) -> Iterator[re.Match[str]]:
    if "\\n" not in text:  # nearly all texts
        return
    kept = sorted([*_code(text), *(match.span() for match in _PATH.finditer(text))])
    starts = [start for start, _ in kept]
    ends: list[int] = []
    for _, end in kept:
        ends.append(max(end, ends[-1] if ends else 0))
    for match in _CANDIDATE.finditer(text):
        index = bisect_right(starts, match.start())
        if index == 0 or ends[index - 1] <= match.start():
            yield match


def _code(text: str) -> Iterator[tuple[int, int]]:
    """Spans of fenced blocks and of code between backticks."""
    position = 0
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        marks, rest = line.groups()
        if opened is None:
            if marks[0] == "`" and "`" in rest:
                continue  # inline code that begins a line
            yield from _inline_code(text, position, line.start())
            opened = line
        elif marks.startswith(opened[1]) and not rest.strip():
            yield opened.start(), line.end()
            opened, position = None, line.end()
    if opened is None:
        yield from _inline_code(text, position, len(text))
    else:
        yield opened.start(), len(text)  # a block that nobody closes runs to the end


def _inline_code(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    borders = [match.start() for match in _PARAGRAPH_END.finditer(text, start, end)]
    for first, last in pairwise([start, *borders, end]):
        runs = list(_TICKS.finditer(text, first, last))
        to_come = Counter(len(run[0]) for run in runs)
        opened: re.Match[str] | None = None
        for run in runs:
            to_come[len(run[0])] -= 1
            if opened is None:
                # Backticks that nothing closes are plain text.
                opened = run if to_come[len(run[0])] else None
            elif opened[0] == run[0]:
                yield opened.start(), run.end()
                opened = None
