"""Checks of a training file before anything is rented or started.

Every finding says where it is (conversation, turn, place in the file), what is there, and what to
do. Token counts are exact with the base model's tokenizer, and say so when they are estimates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

from shared.chat_format import ChatEncoder, find_special_tokens
from shared.dataset.conversation import Conversation, Dataset, TrainingPair
from shared.dataset.folding import Row, count_targets, fold

CHARACTERS_PER_TOKEN = 4.4
"""For estimates: 72 real conversations, Llama 3 tokenizer, 2026-11 (facts of the format)."""


class Severity(StrEnum):
    """An error stops the start; a warning is shown; a note is for information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing about the file."""

    severity: Severity
    code: str
    message: str
    advice: str
    conversation_id: str | None = None
    turn: int | None = None
    location: str | None = None
    snippet: str | None = None

    @property
    def places(self) -> list[str]:
        """Conversation, turn and place in the file, as far as it has them; foreign text."""
        turn = None if self.turn is None else f"turn {self.turn}"
        return [place for place in (self.conversation_id, turn, self.location) if place]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """Counts and findings of one file."""

    shape: str
    conversations: int
    turns: int
    targets: int
    trained_targets: int
    rows: int
    tokens: int
    """Tokens of one epoch, folded, held-out conversations included."""
    longest_tokens: int
    tokens_are_estimated: bool
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def has_warnings(self) -> bool:
        return any(finding.severity is Severity.WARNING for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def is_cut(pair: TrainingPair) -> bool:
    """True if the target ends in mid-sentence, as 8 % of the targets in real files do.

    The sign is a stray backslash at the end: what is left of a truncated escape.
    """
    return pair.target is not None and pair.target.rstrip().endswith("\\")


def trained_rows(conversation: Conversation, cut_targets: Literal["exclude", "train"]) -> list[Row]:
    """The rows of a conversation that will be trained."""
    return fold(conversation, lambda pair: cut_targets == "train" or not is_cut(pair))


def check_dataset(
    dataset: Dataset,
    *,
    max_seq_length: int,
    cut_targets: Literal["exclude", "train"] = "exclude",
    over_long: Literal["refuse", "exclude"] = "refuse",
    encoder: ChatEncoder | None = None,
) -> DatasetReport:
    """Count and check everything in `dataset`; without an `encoder`, token counts are estimates."""
    rows = [row for item in dataset.conversations for row in trained_rows(item, cut_targets)]
    lengths = [count_tokens(row, encoder) for row in rows]
    findings = [
        *_check_whole(dataset, count_targets(rows)),
        *(
            finding
            for item in dataset.conversations
            for finding in _check_conversation(item, cut_targets)
        ),
        *(
            _over_long(row, length, max_seq_length, over_long, is_estimate=encoder is None)
            for row, length in zip(rows, lengths, strict=True)
            if length > max_seq_length
        ),
    ]
    order = list(Severity)
    return DatasetReport(
        shape=dataset.shape,
        conversations=len(dataset.conversations),
        turns=sum(len(item.pairs) for item in dataset.conversations),
        targets=sum(len(item.targets) for item in dataset.conversations),
        trained_targets=count_targets(rows),
        rows=len(rows),
        tokens=sum(lengths),
        longest_tokens=max(lengths, default=0),
        tokens_are_estimated=encoder is None,
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


def count_tokens(row: Row, encoder: ChatEncoder | None) -> int:
    """Tokens of one row; an estimate from its characters where there is no encoder."""
    if encoder is not None:
        return len(encoder.encode(row)[0])
    characters = sum(len(message.content) for message in row.messages)
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + 5 * len(row.messages) + 1


def _check_whole(dataset: Dataset, trained_targets: int) -> Iterator[Finding]:
    if trained_targets == 0:
        yield Finding(
            Severity.ERROR,
            "no_targets",
            "nothing in this file can be trained: no pair has a target_response.",
            "Export the file again with the assistant's answers in it.",
        )
    counts = Counter(item.conversation_id for item in dataset.conversations)
    for conversation_id, count in counts.items():
        if count > 1:
            yield Finding(
                Severity.ERROR,
                "duplicate_conversation",
                f"{count} conversations have this id; only the id tells conversations apart.",
                "Give each conversation its own conversation_id, or remove the copies.",
                conversation_id,
            )


def _check_conversation(
    conversation: Conversation, cut_targets: Literal["exclude", "train"]
) -> Iterator[Finding]:
    rows = fold(conversation)
    if len(rows) > 1:
        yield Finding(
            Severity.WARNING,
            "history_differs",
            f"the history of a pair is not what earlier turns say; {len(rows)} separate rows.",
            "Check the conversation's history; it costs more tokens this way.",
            conversation.conversation_id,
            location=conversation.location,
        )
    for pair in conversation.targets:
        for code, severity, message, advice, snippet in _pair_findings(pair, cut_targets):
            yield Finding(
                severity,
                code,
                message,
                advice,
                conversation.conversation_id,
                pair.turn,
                pair.location,
                snippet,
            )


def _pair_findings(
    pair: TrainingPair, cut_targets: Literal["exclude", "train"]
) -> Iterator[tuple[str, Severity, str, str, str]]:
    target = pair.target or ""
    if not target.strip():
        yield (
            "blank_target",
            Severity.ERROR,
            "the target holds only white space.",
            "Write the answer, or set it to null.",
            repr(target[:40]),
        )
    if is_cut(pair):
        kept = "excluded from the loss" if cut_targets == "exclude" else "trained all the same"
        yield (
            "cut_target",
            Severity.WARNING,
            f"the target ends in mid-sentence (stray backslash); {kept}.",
            "Complete the answer in the file.",
            target.rstrip()[-50:],
        )
    if "\\n" in target:
        yield (
            "literal_newline",
            Severity.WARNING,
            "the target holds the two characters \\n where a line break was meant.",
            "Replace them with real line breaks.",
            _around(target, "\\n"),
        )
    forged = {token for text in _texts(pair) for token in find_special_tokens(text)}
    if forged:
        names = ", ".join(sorted(forged))
        yield (
            "forged_special_token",
            Severity.WARNING,
            f"the text spells control tokens ({names}); they are trained as plain text.",
            "Remove them unless the text is about them.",
            names[:80],
        )
    if not _alternates(pair):
        yield (
            "role_order",
            Severity.WARNING,
            "the messages before this target do not alternate between user and assistant.",
            "Check the conversation's history.",
            " ".join(message.role for message in pair.context)[:80],
        )


def _over_long(
    row: Row,
    length: int,
    max_seq_length: int,
    over_long: Literal["refuse", "exclude"],
    is_estimate: bool,
) -> Finding:
    about = "about " if is_estimate else ""
    refuses = over_long == "refuse" and not is_estimate
    last_turn = sum(message.role != "system" for message in row.messages)
    outcome = "refused" if over_long == "refuse" else "left out"
    return Finding(
        Severity.ERROR if refuses else Severity.WARNING,
        "over_long",
        f"{about}{length} tokens up to turn {last_turn}, max_seq_length is {max_seq_length}: "
        f"{outcome}; nothing is ever cut silently.",
        f"Raise max_seq_length to {length} or more, or pass --over-long exclude.",
        row.conversation_id,
        last_turn,
    )


def _texts(pair: TrainingPair) -> list[str]:
    return [*(message.content for message in pair.context), pair.target or ""]


def _alternates(pair: TrainingPair) -> bool:
    roles = [message.role for message in pair.context if message.role != "system"]
    return roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


def _around(text: str, needle: str) -> str:
    position = text.index(needle)
    return text[max(position - 25, 0) : position + 25]
