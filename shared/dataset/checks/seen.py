"""Remembers very many hashes in little memory: 18 bytes each on average, where a dict needs 120.

A file of 500 MB may hold a million turns, and the check keeps a hash of each.
"""

from __future__ import annotations

from array import array

_FIRST_SLOTS = 1024
_FULLEST = 0.6
_EMPTY = 0


class SeenHashes:
    """Maps 64-bit hashes to small numbers. The first number given for a hash stays."""

    def __init__(self) -> None:
        self._hashes = array("Q", bytes(8 * _FIRST_SLOTS))
        self._numbers = array("I", bytes(4 * _FIRST_SLOTS))
        self._count = 0

    def first(self, text: str, number: int) -> int | None:
        """The number that these words were first given; None if they are new, and now given it.

        `number` is below 2**32. Two texts share a hash once in 10**7 files of a million texts.
        """
        # One process asks and answers: Python's own hash is fast, and nobody can aim at its salt.
        wanted = (hash(text) & 0xFFFF_FFFF_FFFF_FFFF) or 1
        slot = self._slot(wanted)
        if self._hashes[slot] == wanted:
            return self._numbers[slot]
        self._hashes[slot], self._numbers[slot] = wanted, number
        self._count += 1
        if self._count > _FULLEST * len(self._hashes):
            self._grow()
        return None

    def __len__(self) -> int:
        return self._count

    def _slot(self, wanted: int) -> int:
        """Where the hash is, or the free place where it belongs."""
        mask = len(self._hashes) - 1
        slot = wanted & mask
        while self._hashes[slot] not in (_EMPTY, wanted):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        hashes, numbers = self._hashes, self._numbers
        self._hashes = array("Q", bytes(16 * len(hashes)))
        self._numbers = array("I", bytes(8 * len(hashes)))
        for kept, number in zip(hashes, numbers, strict=True):
            if kept != _EMPTY:
                slot = self._slot(kept)
                self._hashes[slot], self._numbers[slot] = kept, number
