"""Puts what belongs together into clusters, however long the chain between two members is.

Members are numbers from 0 on; why they belong together is the caller's business.
"""

from __future__ import annotations


class Clusters:
    """Each of `count` members is alone, until it is joined with others."""

    def __init__(self, count: int) -> None:
        self._leaders = list(range(count))

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self._leader(one), self._leader(other)))
        self._leaders[second] = first

    def are_joined(self, one: int, other: int) -> bool:
        return self._leader(one) == self._leader(other)

    def all(self) -> list[list[int]]:
        """Every cluster, those of one member included, in the order of their first members."""
        members: dict[int, list[int]] = {}
        for member in range(len(self._leaders)):
            members.setdefault(self._leader(member), []).append(member)
        return list(members.values())

    def _leader(self, member: int) -> int:
        while self._leaders[member] != member:
            # Shortens the way for the next one who asks.
            self._leaders[member] = self._leaders[self._leaders[member]]
            member = self._leaders[member]
        return member
