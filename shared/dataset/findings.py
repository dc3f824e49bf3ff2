"""What is worth knowing about a training file, one thing at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from shared.errors import InvalidDataset

MOST_FINDINGS_OF_A_CODE = 200
"""Kept of each code; the rest is only counted, so that a damaged 500 MB file fits in memory."""


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


class FindingLog:
    """Collects findings in bounded memory: counts all of them, keeps the first of each code."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._counts: Counter[tuple[Severity, str]] = Counter()

    def add(self, finding: Finding) -> None:
        key = (finding.severity, finding.code)
        if self._counts[key] < MOST_FINDINGS_OF_A_CODE:
            self._kept.append(finding)
        self._counts[key] += 1

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.add(finding)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those that were kept, worst first, else in the order in which they were added."""
        order = list(Severity)
        return tuple(sorted(self._kept, key=lambda finding: order.index(finding.severity)))

    @property
    def counts(self) -> dict[Severity, dict[str, int]]:
        """How many there were: severity -> code -> count; every severity has a key."""
        return {
            severity: {code: n for (its, code), n in self._counts.items() if its is severity}
            for severity in Severity
        }


class UnreadableDataset(InvalidDataset):
    """A place in a training file that cannot be read; `finding` is what a check shows of it."""

    def __init__(self, where: str, finding: Finding) -> None:
        self.finding = finding
        place = f"{where}: {finding.location}: " if finding.location else f"{where}: "
        there = f" The text there: {finding.snippet!r}" if finding.snippet else ""
        super().__init__(f"{place}{finding.message}{there} {finding.advice}".rstrip())
