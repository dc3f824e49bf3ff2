"""Reads what the trainer's side says of its cache of base models; apart from any process.

The same lines come from a process of this machine and over SSH, among whatever else is printed.
"""

from __future__ import annotations

from collections import deque

from shared import errors
from shared.clean_text import clean_line
from shared.errors import BrightRunError, ModelCacheError
from shared.model_cache import (
    EXIT_DONE,
    CacheFailed,
    CacheRecord,
    decode_cache_record,
)

_LAST_WORDS = 4
_KINDS: dict[str, type[BrightRunError]] = {
    kind.__name__: kind
    for kind in (errors.InvalidBaseModel, errors.InvalidInput, errors.NotEnoughDisk)
}
"""What the user can mend; everything else is worth another try."""


class CacheReport:
    """Takes the lines of one command, in order."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._noise: deque[str] = deque(maxlen=_LAST_WORDS)
        self._failed: CacheFailed | None = None

    def read(self, line: str) -> CacheRecord | None:
        """The record of this line; None if it is something else, or tells of a failure."""
        try:
            record = decode_cache_record(line)
        except ValueError:
            if words := clean_line(line).strip():
                self._noise.append(words)
            return None
        if isinstance(record, CacheFailed):
            self._failed = record
            return None
        return record

    def close(self, exit_status: int | None) -> None:
        """The command has ended so; None where nobody knows.

        Raises:
            InvalidBaseModel, InvalidInput, NotEnoughDisk: the user can mend it.
            ModelCacheError: trying again may help; what is complete stays.
        """
        if self._failed is not None:
            kind = _KINDS.get(self._failed.reason, ModelCacheError)
            raise kind(f"{self._where}: {clean_line(self._failed.message)}")
        if exit_status == EXIT_DONE:
            return
        told = " ".join(self._noise) or f"it ended with status {exit_status} and said nothing"
        raise ModelCacheError(f"{self._where}: the cache of base models failed: {told[-600:]}")
