"""Tokens of the rows: their sum, their distribution, and the rows that are too long.

Rows wait until there are enough of them to be tokenized together, which is several times faster
than one by one. Of a counted row only figures are kept.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from shared.chat_format import ChatEncoder, TokenCounts
from shared.dataset.conversation import Conversation
from shared.dataset.cut_targets import CutTargets, trained_rows
from shared.dataset.findings import Finding, Severity
from shared.dataset.folding import Row
from shared.dataset.report import LengthDistribution, OverLongRow
from shared.dataset.token_counts import count_rows, header_tokens
from shared.number_text import many

OverLong = Literal["refuse", "exclude"]

_BATCH_ROWS = 64
_BATCH_CHARACTERS = 2_000_000
_MOST_OVER_LONG = 200
_MOST_BINS = 24


@dataclass(frozen=True, slots=True)
class _Waiting:
    conversation: Conversation
    row: Row


class Lengths:
    """Counts the tokens of each row that will be trained."""

    def __init__(
        self,
        *,
        max_seq_length: int,
        cut_targets: CutTargets,
        over_long: OverLong,
        encoder: ChatEncoder | None,
        on_finding: Callable[[Finding], None],
        on_counted: Callable[[Conversation, int], None],
    ) -> None:
        """`on_counted` takes each row's conversation and tokens."""
        self._max_seq_length = max_seq_length
        self._cut_targets = cut_targets
        self._over_long = over_long
        self._encoder = encoder
        self._header_tokens = header_tokens(encoder)
        self._on_finding = on_finding
        self._on_counted = on_counted
        self._waiting: list[_Waiting] = []
        self._waiting_characters = 0
        self._longest: list[tuple[int, int, OverLongRow]] = []
        self.over_long_count = 0
        self.row_counts = array("I")
        """Rows of each conversation."""
        self.tokens = array("Q")
        """Of each row."""
        self.targets = array("I")
        """Trained, of each row."""
        self.unfolded_tokens = 0
        self.supervised_tokens = 0

    def add(self, conversation: Conversation) -> None:
        folds_exactly = self._encoder.chat_format.folds_exactly if self._encoder else None
        rows = trained_rows(conversation, self._cut_targets, folds_exactly)
        self.row_counts.append(len(rows))
        for row in rows:
            self._waiting.append(_Waiting(conversation, row))
            self._waiting_characters += sum(len(message.content) for message in row.messages)
            is_full = self._waiting_characters >= _BATCH_CHARACTERS
            if is_full or len(self._waiting) >= _BATCH_ROWS:
                self.count_waiting()

    def count_waiting(self) -> None:
        """Count the rows that still wait."""
        counts = count_rows([item.row for item in self._waiting], self._encoder)
        for item, its in zip(self._waiting, counts, strict=True):
            self._note(item.conversation, item.row, its)
        self._waiting.clear()
        self._waiting_characters = 0

    @property
    def over_long(self) -> tuple[OverLongRow, ...]:
        """Longest first, else in file order; the longest 200."""
        return tuple(row for _, _, row in sorted(self._longest, key=lambda item: item[:2])[::-1])

    def _note(self, conversation: Conversation, row: Row, counts: TokenCounts) -> None:
        total = counts.total
        ends = list(accumulate(counts.messages))
        self.tokens.append(total)
        self.targets.append(len(row.trained))
        self.unfolded_tokens += sum(ends[index] for index in row.trained)
        self.supervised_tokens += counts.supervised
        self._on_counted(conversation, total)
        if total > self._max_seq_length:
            self._note_over_long(conversation, row, ends)

    def _note_over_long(self, conversation: Conversation, row: Row, ends: list[int]) -> None:
        lost, damaged = [], []
        for turn, index in _turns(conversation, row):
            start = (ends[index - 1] if index else 0) + self._header_tokens
            if start >= self._max_seq_length:
                lost.append(turn)
            elif ends[index] > self._max_seq_length:
                damaged.append(turn)
        cut = OverLongRow(
            conversation.conversation_id,
            conversation.location,
            ends[-1],
            ends[-1] - self._max_seq_length,
            tuple(lost),
            tuple(damaged),
        )
        entry = (cut.tokens, -self.over_long_count, cut)
        self.over_long_count += 1
        if len(self._longest) < _MOST_OVER_LONG:
            heapq.heappush(self._longest, entry)
        else:
            heapq.heappushpop(self._longest, entry)
        self._on_finding(self._finding(cut, row))

    def _finding(self, cut: OverLongRow, row: Row) -> Finding:
        about = "about " if self._encoder is None else ""
        refuses = self._over_long == "refuse" and self._encoder is not None
        outcome = "refused" if self._over_long == "refuse" else "left out"
        last_turn = sum(message.role != "system" for message in row.messages)
        return Finding(
            Severity.ERROR if refuses else Severity.WARNING,
            "over_long",
            f"{about}{cut.tokens:,} tokens up to turn {last_turn}, max_seq_length is "
            f"{self._max_seq_length:,}: {outcome}; nothing is ever cut silently. "
            f"Truncation would cut {about}{many(cut.cut_tokens, 'token')}{_losses(cut)}.",
            f"Raise max_seq_length to {cut.tokens} or more, or pass --over-long exclude.",
            cut.conversation_id,
            last_turn,
            cut.location,
        )


def distribution(tokens: array[int]) -> LengthDistribution:
    """The lengths as a picture has them.

    A bin's width is a power of two, as max_seq_length mostly is: so the limit is a bin's border.
    """
    if not tokens:
        return LengthDistribution()
    ordered = sorted(tokens)
    width = 1
    while ordered[-1] // width >= _MOST_BINS:
        width *= 2
    counts = [0] * (ordered[-1] // width + 1)
    for length in ordered:
        counts[length // width] += 1
    median, p90, p99 = (ordered[-(-len(ordered) * p // 100) - 1] for p in (50, 90, 99))
    return LengthDistribution(width, tuple(counts), median, p90, p99)


def _turns(conversation: Conversation, row: Row) -> Iterator[tuple[int, int]]:
    """Turn and message index of each target that the row trains."""
    for pair in conversation.targets:
        index = len(pair.context)
        if (
            index in row.trained
            and row.messages[index].content == pair.target
            and row.messages[:index] == pair.context
        ):
            yield pair.turn, index


def _losses(cut: OverLongRow) -> str:
    parts = []
    if cut.lost_turns:
        parts.append(f"{_listed(cut.lost_turns)} whole")
    if cut.damaged_turns:
        parts.append(f"{_listed(cut.damaged_turns)} in part")
    return f": the targets of {', '.join(parts)}" if parts else ""


def _listed(turns: tuple[int, ...]) -> str:
    named = ", ".join(str(turn) for turn in turns[:8])
    more = f" and {len(turns) - 8} more" if len(turns) > 8 else ""
    return f"turn{'s' * (len(turns) > 1)} {named}{more}"
