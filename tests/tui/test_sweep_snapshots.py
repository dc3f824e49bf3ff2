"""What the comparison of a sweep looks like, as `test_snapshots` does for every other screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tui.console_pilot import ConsolePilot
from tests.tui.sweeps import add_sweep
from tests.tui.test_snapshots import Prepare, size, snapshot_of

__all__ = ["size", "snapshot_of"]  # fixtures


@pytest.fixture(autouse=True)
def nobody_gives_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that waits goes on to wait."""

    async def nothing(*_: object) -> None:
        """Give no turn."""

    monkeypatch.setattr("tui.services.host_queue.HostQueue._look", nothing)


async def sweep(opened: ConsolePilot) -> None:
    session = opened.app.session
    assert session is not None
    await add_sweep(session.store)
    opened.app.look_for_jobs()
    await opened.until(lambda: "grid-04" in opened.app.news)
    opened.app.open_sweep("grid")
    await opened.until_seen("lr=2e-4 r=8", "3 ended")
    opened.app.clear_notifications()


async def sweep_both(opened: ConsolePilot) -> None:
    await sweep(opened)
    await opened.press("m", "m", "x", "x", "down", "down")
    await opened.until_seen("small letters against tokens", "CUDA out of memory")


@pytest.mark.parametrize("prepare", [sweep, sweep_both], ids=lambda item: item.__name__)
def test_the_screen_looks_as_before(
    snapshot_of: Callable[[Prepare], bool], prepare: Prepare
) -> None:
    assert snapshot_of(prepare)
