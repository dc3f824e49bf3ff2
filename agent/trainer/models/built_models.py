"""Base models that are made here, once, however many trainers ask for them at the same time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def build_once(directory: Path, build: Callable[[Path], None]) -> Path:
    """`directory`, filled by `build` at the first call; it appears in one piece.

    Two trainers may build at once, each in a folder of its own; the first to finish gives the name.
    """
    if (directory / "config.json").is_file():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        build(partial)
        partial.rename(directory)
    except OSError:
        if not (directory / "config.json").is_file():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory
