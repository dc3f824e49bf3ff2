"""A console, its store with one rented job, and a stand-in for the provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from shared.store.store import Store, open_store
from tests.fakes.runpod.server import FakeRunpod, fake_runpod
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.local_console import Console
from tests.tui.rented import add_rented_job

OPEN = Callable[..., AbstractAsyncContextManager[ConsolePilot]]


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    return Console(tmp_path)


@pytest.fixture
async def store(console: Console) -> AsyncIterator[Store]:
    """The one that the console reads, with one rented job."""
    async with open_store(console.home / "brightrun.db") as opened:
        await add_rented_job(opened, name="the rented one")
        yield opened


@pytest.fixture
def opened(console: Console, store: Store, monkeypatch: pytest.MonkeyPatch) -> OPEN:
    """The console, in which nobody acts for rented jobs but the test."""

    async def nobody(*_: object) -> None:
        """Control nothing."""

    monkeypatch.setattr("tui.rental_desk.RentalDesk._control", nobody)

    @asynccontextmanager
    async def open_with(size: tuple[int, int] = (170, 40)) -> AsyncIterator[ConsolePilot]:
        async with open_app(console, size=size) as pilot:
            await pilot.until_seen("the rented one")
            yield pilot

    return open_with


@pytest.fixture
def runpod(console: Console) -> Iterator[FakeRunpod]:
    """The account that the console has a key to; its pods are records and run nothing."""
    with fake_runpod(processes=False) as fake:
        assert fake.api_key is not None
        console.environment |= {"RUNPOD_API_KEY": fake.api_key, "RUNPOD_API_BASE_URL": fake.url}
        yield fake
        assert fake.violations == []
