from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.store.store import Store, open_store
from tests.fakes.runpod.server import FakeRunpod, fake_runpod
from tests.tui.fake_agent import FakeAgent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory of its own for every test."""
    path = tmp_path / "home"
    monkeypatch.setenv("BRIGHTRUN_HOME", str(path))
    monkeypatch.delenv("BRIGHTRUN_AGENT_ROOT", raising=False)
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    return path


@pytest.fixture
def agent(home: Path) -> FakeAgent:
    """An agent under the home's agent root; not running yet."""
    return FakeAgent(home / "agent")


@pytest.fixture
def runpod(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRunpod]:
    """The user's account at a stand-in for RunPod, whose pods are records and run nothing."""
    with fake_runpod(processes=False) as fake:
        assert fake.api_key is not None
        monkeypatch.setenv("RUNPOD_API_KEY", fake.api_key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", fake.url)
        yield fake
        assert fake.violations == []


@pytest.fixture
async def store(home: Path) -> AsyncIterator[Store]:
    async with open_store(home / "brightrun.db") as opened:
        yield opened
