"""What costs look like, as `test_snapshots` does for every other screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tui.console_pilot import ConsolePilot
from tests.tui.spending import NOW, spend
from tests.tui.test_snapshots import Prepare, size, snapshot_of

__all__ = ["size", "snapshot_of"]  # fixtures


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Always the same; nobody acts for rented jobs."""

    async def nobody(*_: object) -> None:
        """Control nothing."""

    monkeypatch.setattr("tui.rental_desk.RentalDesk._control", nobody)
    monkeypatch.setattr("tui.screens.costs.utc_now", lambda: NOW)
    monkeypatch.setattr("tui.services.spending.costs.utc_now", lambda: NOW)


async def costs(opened: ConsolePilot) -> None:
    assert opened.app.session is not None
    await spend(opened.app.session.store)
    opened.app.look_for_jobs()
    await opened.until(lambda: "job-plain" in opened.app.news)
    await opened.press("dollar_sign")
    await opened.until_seen("November 2026", "2026-11-20")
    opened.app.clear_notifications()


async def costs_by_tag(opened: ConsolePilot) -> None:
    await costs(opened)
    await opened.press("9", "t", "m")
    await opened.until_seen("(none)", "added up")


async def cost_limit(opened: ConsolePilot) -> None:
    await costs(opened)
    await opened.press("l")
    await opened.until_seen("What may a month cost")
    opened.app.screen.set_focus(None)


@pytest.mark.parametrize(
    "prepare", [costs, costs_by_tag, cost_limit], ids=lambda item: item.__name__
)
def test_the_screen_looks_as_before(
    snapshot_of: Callable[[Prepare], bool], prepare: Prepare
) -> None:
    assert snapshot_of(prepare)
