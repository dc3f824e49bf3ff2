"""What models look like, as `test_snapshots` does for every other screen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.deployment import DeploymentStatus
from shared.events import utc_now
from shared.store.model_versions import Change
from tests.tui.console_pilot import ConsolePilot
from tests.tui.test_snapshots import Prepare, size, snapshot_of
from tests.tui.versions import BEGIN, add_completed
from tui.services.models import sync_versions

__all__ = ["size", "snapshot_of"]  # fixtures
ELENA = Change("elena@example.org", "answers of the pension set are calmer")
NOW = BEGIN + timedelta(days=2)


@pytest.fixture(autouse=True)
def always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day, and who moves versions."""
    assert utc_now() > BEGIN
    monkeypatch.setattr("shared.store.model_versions.utc_now", lambda: NOW)


async def no_models(opened: ConsolePilot) -> None:
    assert opened.app.session is not None

    async def none(*_: object) -> list[str]:
        return []

    opened.app.session.store.models.jobs_without = none  # type: ignore[method-assign]
    await opened.press("m")
    await opened.until_seen("No versions yet")


async def models(opened: ConsolePilot) -> None:
    assert opened.app.session is not None
    store = opened.app.session.store
    await add_completed(store, "pension-1", "Pension anxiety", steps=30)
    later = BEGIN + timedelta(hours=3)
    await add_completed(store, "pension-2", "Pension anxiety", steps=50, begin=later, lora_r=32)
    await sync_versions(opened.app.session)
    version = await store.models.find("pension-anxiety", 2)
    await store.models.move(version, DeploymentStatus.TESTING, ELENA)
    await opened.until(lambda: len(opened.app.news) == 5)
    await opened.press("m")
    await opened.until_seen("3 versions of 2 models", "elena@example.org")
    opened.app.clear_notifications()


async def marked_models(opened: ConsolePilot) -> None:
    await models(opened)
    await opened.press("space", "down", "space", "down", "space")
    await opened.until_seen("3 marked")


async def promoting(opened: ConsolePilot) -> None:
    await models(opened)
    await opened.press("down", "p")
    await opened.until_seen("stored -> testing", "Why?")
    opened.app.screen.set_focus(None)


async def compared_models(opened: ConsolePilot) -> None:
    await marked_models(opened)
    await opened.press("c")
    await opened.until_seen("lora_r", "held-out loss")


@pytest.mark.parametrize(
    "prepare",
    [no_models, models, marked_models, promoting, compared_models],
    ids=lambda item: item.__name__,
)
def test_the_screen_looks_as_before(
    snapshot_of: Callable[[Prepare], bool], prepare: Prepare
) -> None:
    assert snapshot_of(prepare)
