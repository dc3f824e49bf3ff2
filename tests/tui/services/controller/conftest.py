from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def database_path(home: Path) -> Path:
    """Where the fixture `store` is."""
    return home / "brightrun.db"
