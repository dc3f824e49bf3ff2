"""Adds up conversations by persona, arc or topic."""

from __future__ import annotations

from shared.dataset.report import Group


class Groups:
    """The sums of each group; memory grows with the number of names only."""

    def __init__(self) -> None:
        self._sums: dict[str, list[int]] = {}

    def add(self, name: str, *, conversations: int = 0, targets: int = 0, tokens: int = 0) -> None:
        sums = self._sums.setdefault(name, [0, 0, 0])
        sums[0] += conversations
        sums[1] += targets
        sums[2] += tokens

    @property
    def groups(self) -> tuple[Group, ...]:
        """Most conversations first, then by name; empty where no conversation has a name."""
        if not any(self._sums):
            return ()
        found = [Group(name, *sums) for name, sums in self._sums.items()]
        return tuple(sorted(found, key=lambda group: (-group.conversations, group.name)))
