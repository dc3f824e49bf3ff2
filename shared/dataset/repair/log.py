"""What was repaired in a training file: every kind counted, each repair listed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace

MOST_LISTED = 1000
"""Repairs listed of each kind; the rest is only counted, so that a large file fits in memory."""
_AROUND = 25


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was mended. All but `what` is foreign text."""

    what: str
    """Kind, spelled as the finding of a check where there is one."""
    location: str
    """The first place."""
    before: str
    after: str
    places: int = 1
    """In how many fields: later turns repeat what earlier ones say."""


class RepairLog:
    """Collects repairs; the same text in the same conversation is one repair in many places."""

    def __init__(self) -> None:
        self._listed: list[Repair] = []
        self._index: dict[Hashable, int | None] = {}
        self._counts: Counter[str] = Counter()

    def add(self, what: str, location: str, before: str, after: str, key: Hashable = None) -> None:
        """`key` is equal for what shall be listed as one repair; None for one of its own."""
        if key is not None and (what, key) in self._index:
            index = self._index[what, key]
            if index is not None:
                known = self._listed[index]
                self._listed[index] = replace(known, places=known.places + 1)
            return
        self._counts[what] += 1
        is_listed = self._counts[what] <= MOST_LISTED
        if key is not None:
            self._index[what, key] = len(self._listed) if is_listed else None
        if is_listed:
            self._listed.append(Repair(what, location, before, after))

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """Those that are listed, in the order of the file within each kind of repair."""
        return tuple(self._listed)

    @property
    def counts(self) -> dict[str, int]:
        """Kind -> how many there were."""
        return dict(self._counts)


def around(text: str, position: int) -> str:
    """The text about a place in it."""
    return text[max(position - _AROUND, 0) : position + _AROUND]
