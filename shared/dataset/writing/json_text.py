"""JSON values as the bytes of a training file. Knows nothing of what they mean."""

from __future__ import annotations

import json
from typing import Any

from shared.errors import InvalidDataset

INDENT = 2
"""Spaces, as the product's own files have it."""


def compact(value: Any, where: str) -> bytes:
    """On one line, without spaces, as in the product's JSONL. `where` is for errors.

    Raises:
        InvalidDataset: JSON has no such value.
    """
    return _dumped(value, where, indent=None, separators=(",", ":"))


def indented(value: Any, where: str, depth: int) -> bytes:
    """On many lines; all but the first are indented for a place `depth` levels down.

    Raises:
        InvalidDataset: JSON has no such value.
    """
    margin = b"\n" + b" " * (INDENT * depth)
    return _dumped(value, where, indent=INDENT, separators=None).replace(b"\n", margin)


def _dumped(
    value: Any, where: str, indent: int | None, separators: tuple[str, str] | None
) -> bytes:
    def dump(ensure_ascii: bool) -> bytes:
        text = json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            allow_nan=False,
            indent=indent,
            separators=separators,
        )
        return text.encode()

    try:
        try:
            return dump(ensure_ascii=False)
        except UnicodeEncodeError:  # Half a character, which only an escape can write.
            return dump(ensure_ascii=True)
    except RecursionError as error:
        raise InvalidDataset(f"{where}: is nested too deeply to be written.") from error
    except ValueError as error:  # NaN or Infinity, which Python reads and JSON does not have.
        raise InvalidDataset(
            f"{where}: holds a number that JSON cannot hold, such as NaN. Mend it in the file."
        ) from error
