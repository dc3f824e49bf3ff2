"""What the jobs screen says of the web application's copy, as `test_snapshots` does for others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tui.console_pilot import ConsolePilot
from tests.tui.test_snapshots import Prepare, size, snapshot_of

__all__ = ["size", "snapshot_of"]  # fixtures


async def up_to_date(opened: ConsolePilot) -> None:
    opened.app.mirror_line.words = "up to date"
    await opened.until_seen("Supabase: up to date")


async def unreachable(opened: ConsolePilot) -> None:
    reason = "Supabase does not answer: All connection attempts failed."
    opened.app.mirror_line.words = f"unreachable since 14:03, nothing is lost: {reason}"
    await opened.until_seen("Supabase: unreachable since 14:03")


@pytest.mark.parametrize("prepare", [up_to_date, unreachable], ids=lambda item: item.__name__)
def test_the_screen_looks_as_before(
    snapshot_of: Callable[[Prepare], bool], prepare: Prepare
) -> None:
    assert snapshot_of(prepare)
