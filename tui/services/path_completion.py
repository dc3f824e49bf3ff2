"""Completes the path of a training file or of a model's directory as it is typed.

A name that holds control characters is never offered: it would be drawn as it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from shared.clean_text import clean_line
from shared.store.store import Store

_TRAINING_FILES = (".json", ".jsonl")
_LIKE_A_PATH = ("/", "~", "./", "../")

_MOST_ENTRIES = 20_000
"""Of a directory: a larger one is not searched to its end."""


async def recent_files(store: Store) -> list[str]:
    """Paths of training files that were checked before and are there, last checked first.

    Raises:
        StoreError: the store cannot be read.
    """
    paths = [file.path for file in await store.training_files.all()]
    return await asyncio.to_thread(lambda: list(filter(_is_file, paths)))


def complete_dataset(typed: str, known: Sequence[str]) -> str | None:
    """The path of a training file that begins with `typed`: a known one, or one on the disk.

    Blocks.
    """
    if _is_file(typed):
        return None  # A longer name must not take its place.
    return _first_of(known, typed) or _complete(typed, _TRAINING_FILES)


def complete_base_model(typed: str, known: Sequence[str]) -> str | None:
    """A known name that begins with `typed`, or a directory if it is spelled like one. Blocks."""
    if typed in known:
        return None
    on_disk = _complete(typed, ()) if typed.startswith(_LIKE_A_PATH) else None
    return _first_of(known, typed) or on_disk


def complete_known(typed: str, known: Sequence[str]) -> str | None:
    """The first of the known texts that begins with `typed`, which is none of them itself."""
    return None if typed in known else _first_of(known, typed)


def _first_of(known: Sequence[str], typed: str) -> str | None:
    for text in known:
        if text.startswith(typed) and text != typed and clean_line(text) == text:
            return text
    return None


def _is_file(typed: str) -> bool:
    try:
        return Path(typed).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def _complete(typed: str, suffixes: tuple[str, ...]) -> str | None:
    """`typed` and the rest of the first name that begins so; directories end in a slash."""
    folder, begin = os.path.split(typed)
    try:
        directory = Path(folder or ".").expanduser()
        if typed in ("~", ".", "..") or (begin and (directory / begin).is_dir()):
            return f"{typed}/"
        names = sorted(_names(directory, begin, suffixes)) if begin else []
    except (OSError, ValueError, RuntimeError):
        return None
    return os.path.join(folder, names[0]) if names else None


def _names(directory: Path, begin: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in islice(entries, _MOST_ENTRIES):
            name = entry.name
            if not name.startswith(begin) or clean_line(name) != name:
                continue
            if entry.is_dir():
                yield f"{name}/"
            elif name.lower().endswith(suffixes):
                yield name
