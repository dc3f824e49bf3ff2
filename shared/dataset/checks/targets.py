"""Findings about single targets: blank ones, and those that end in mid-sentence.

Real exports cut texts. A stray backslash at the end is a sure sign (`is_cut`): such a target is not
trained unless that is asked for. The other signs are guesses; those targets are trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.dataset.checks.walk import at_pair, ending
from shared.dataset.conversation import Conversation, TrainingPair
from shared.dataset.cut_targets import CutTargets, is_cut
from shared.dataset.findings import Finding, Severity

_LONG_ANSWER_CHARACTERS = 200
"""Shorter answers often do without a full stop: "Sure, go ahead"."""

_SENTENCE_WORDS = 6
"""A last line of fewer words may be a signature, a heading or a link."""

_CONNECTING_WORDS = frozenset(
    {
        "a",
        "an",
        "and",
        "although",
        "because",
        "but",
        "each",
        "every",
        "if",
        "my",
        "nor",
        "of",
        "or",
        "our",
        "than",
        "the",
        "their",
        "unless",
        "very",
        "whereas",
        "which",
        "while",
        "whose",
        "your",
    }
)
"""Words that hardly ever end a sentence."""

_FENCE = re.compile(r"^ {0,3}```", re.MULTILINE)
_OPEN_ENDS = re.compile(r"[,;:–—&(\[{“‘«„-]$|(?<=\s)[\"']$")
_NO_OPEN_END = re.compile(
    r"(?:^|\n)\s*[^\w\s]{2,}$"  # a line across the page, a row of marks
    r"|(?:[:;=8]-?|>:)[(\[{]$"  # a sad face
    r"|(?<!\S):\w+:$"  # :an_emoji:
    r"|\n *(?:\S+ ){0,2}\S+,$"  # Warm regards,
)
_MARKED_LINE = re.compile(r"\s*(?:[-*+•‣◦▪·>|]|#{1,6}|\d+[.)]|[A-Za-z][.)])(?:\s|\*)")
_SENTENCE_END = re.compile(r"[.!?…](?:[\"'”’)*_]*)(?:\s|$)")
_ADDRESS = re.compile(r"://|www\.|@|\w\.\w|^/|=")


def target_findings(conversation: Conversation, cut_targets: CutTargets) -> Iterator[Finding]:
    """What is wrong with the targets as such."""
    for pair in conversation.targets:
        found = _look_at(pair, cut_targets)
        if found is not None:
            severity, code, message, advice, snippet = found
            yield at_pair(
                conversation.conversation_id,
                pair,
                severity,
                code,
                message,
                advice,
                snippet=snippet,
            )


def _look_at(
    pair: TrainingPair, cut_targets: CutTargets
) -> tuple[Severity, str, str, str, str] | None:
    target = (pair.target or "").strip()
    if not target:
        return (
            Severity.ERROR,
            "blank_target",
            "the target holds only white space.",
            "Write the answer, or set it to null.",
            repr((pair.target or "")[:40]),
        )
    if is_cut(pair):
        kept = "excluded from the loss" if cut_targets == "exclude" else "trained all the same"
        return (
            Severity.WARNING,
            "cut_target",
            f"the target ends in mid-sentence (stray backslash); {kept}.",
            "Complete the answer in the file.",
            ending(target, 50),
        )
    if sign := cut_sign(target):
        return (
            Severity.WARNING,
            "maybe_cut_target",
            f"the target may end in mid-sentence: it {sign}.",
            "It is trained as it is. Complete it, or set it to null, if it is cut.",
            ending(target, 50),
        )
    return None


def cut_sign(target: str) -> str:
    """What looks as if the text had been cut, in words; empty where nothing does."""
    target = target.rstrip()
    if len(_FENCE.findall(target)) % 2:
        return "opens a code block and does not close it"
    last_line = target[target.rfind("\n") + 1 :]
    if last_line.count("**") % 2:
        return "opens bold text and does not close it"
    if _OPEN_ENDS.search(last_line[-20:]):
        is_meant = _NO_OPEN_END.search(target[-200:])
        return "" if is_meant else f"ends in {last_line[-1]!r}"
    if not target[-1:].isalnum():
        return ""
    word = last_line.split()[-1]
    if word in _CONNECTING_WORDS and len(last_line.split()) > 1:
        return f"ends in {word!r}"
    if len(target) >= _LONG_ANSWER_CHARACTERS and _is_open_sentence(target, last_line):
        return "has no full stop at the end"
    return ""


def _is_open_sentence(target: str, last_line: str) -> bool:
    """True if the last line is prose, in a text that else ends its sentences."""
    if len(last_line.split()) < _SENTENCE_WORDS or _MARKED_LINE.match(last_line):
        return False
    if _ADDRESS.search(last_line.split()[-1]) or "=" in last_line:
        return False
    return _SENTENCE_END.search(target) is not None
