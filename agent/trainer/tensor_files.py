"""Writes safetensors so that a full disk is an `OSError`, like everywhere else.

The library's own `save_file` raises its own error type, with the system's error inside the text.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save


def write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write contiguous CPU tensors by name; raises OSError where the disk does."""
    path.write_bytes(save(tensors, metadata={"format": "pt"}))
