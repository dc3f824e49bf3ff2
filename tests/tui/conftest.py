from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.store.store import Store, open_store
from tests.tui.fake_agent import FakeAgent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory of its own for every test."""
    path = tmp_path / "home"
    monkeypatch.setenv("BRIGHTRUN_HOME", str(path))
    monkeypatch.delenv("BRIGHTRUN_AGENT_ROOT", raising=False)
    return path


@pytest.fixture
def agent(home: Path) -> FakeAgent:
    """An agent under the home's agent root; not running yet."""
    return FakeAgent(home / "agent")


@pytest.fixture
async def store(home: Path) -> AsyncIterator[Store]:
    async with open_store(home / "brightrun.db") as opened:
        yield opened
