from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.dataset.conversation import Dataset
from shared.dataset.reader import read_dataset

REAL_FILES = Path(__file__).parents[3].parent / "shared" / "data"

Read = Callable[[str | bytes | dict[str, Any]], Dataset]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes a file, then reads it: text, bytes, or a document to be dumped as JSON."""

    def write_and_read(content: str | bytes | dict[str, Any]) -> Dataset:
        text = json.dumps(content) if isinstance(content, dict) else content
        path = tmp_path / "train.json"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_dataset(path)

    return write_and_read


@pytest.fixture(params=["json", "jsonl"])
def real_file(request: pytest.FixtureRequest) -> Path:
    """EQ-12, a real file of the product's team; it does not ship with the project."""
    path = REAL_FILES / f"EQ-12-conversations-demo.{request.param}"
    if not path.exists():
        pytest.skip(f"the real training file is not here: {path}")
    return path
