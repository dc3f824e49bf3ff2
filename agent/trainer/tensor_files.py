"""Writes safetensors so that a full disk is an `OSError`, like everywhere else.

The library's `save_file` reads the tensors where they lie; its `save` makes a copy in memory and
holds the interpreter meanwhile (8 s for 640 MB, safetensors 0.8.0, 2026-11). It raises an error
type of its own, with the system's error inside the text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


def write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write contiguous CPU tensors by name; raises OSError where the disk does."""
    with system_errors(path):
        save_file(tensors, path, metadata={"format": "pt"})


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Raise the system's error, an OSError about `path`, where safetensors met with one."""
    try:
        yield
    except SafetensorError as error:
        found = _SYSTEM_ERROR.search(str(error))
        if found is None:
            raise
        number = int(found.group(1))
        raise OSError(number, os.strerror(number), str(path)) from error
