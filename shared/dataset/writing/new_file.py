"""A file that appears under its name whole, or not at all, and never in the place of another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shared.errors import InvalidInput
from shared.manifest import sync_directory


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which gets the name `target` at the end; after an error nothing is left.

    Raises:
        InvalidInput: `target` is there already, or cannot be written.
    """
    refuse_existing(target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _give_name(part, target)
        finally:
            part.unlink(missing_ok=True)
        sync_directory(target.parent)
    except OSError as error:
        raise InvalidInput(f"{target}: cannot be written ({error.strerror}).") from error


def refuse_existing(target: Path) -> None:
    """Files are never overwritten: neither the source nor what somebody else has written.

    Raises:
        InvalidInput: something has this name.
    """
    if not target.name:
        raise InvalidInput(f"{target}: is no name of a file.")
    if os.path.lexists(target):
        raise InvalidInput(f"{target}: is there already. Choose another name, or remove it first.")


def _give_name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # Unlike a rename, it fails where somebody was faster.
    except FileExistsError:
        refuse_existing(target)
    except OSError:  # A file system without hard links.
        refuse_existing(target)
        os.rename(part, target)
