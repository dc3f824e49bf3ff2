"""What the web application's training files look like, as `test_snapshots` does for the others."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.console_pilot import ConsolePilot
from tests.tui.test_snapshots import Prepare, size, snapshot_of
from tests.tui.web_application import WebApplication

__all__ = ["size", "snapshot_of"]  # fixtures

_LONG_NAME = "Grief and loss, persona “anxious”, reviewed twice by the clinical team"
_FILES = (
    ("Coaching, spring cohort", 82, 1430, 2_418_300, "ready"),
    (_LONG_NAME, 57, 743, 1_204_118, "ready"),
    ("Boundaries at work", 12, 96, 180_400, "ready"),
    ("Trial export", None, None, None, "generating"),
)


@pytest.fixture(autouse=True)
def files(fresh_supabase: SupabaseRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.services.background.WORKERS", ())
    for name, value in fresh_supabase.environment().items():
        monkeypatch.setenv(name, value)
    web = WebApplication(fresh_supabase)
    for number, (name, conversations, pairs, size_bytes, status) in enumerate(_FILES):
        web.add(
            None,
            name=name,
            description="Export of the second annotation round." if number == 0 else None,
            conversation_count=conversations,
            total_training_pairs=pairs,
            jsonl_file_size=size_bytes,
            sha256=f"{number:064x}",
            status=status,
            metadata=json.dumps({"persona": "anxious", "quality": 4.6}),
        )
        fresh_supabase.execute(
            "update training_files set created_at = timestamptz '2026-11-20 09:00+00' "
            "- make_interval(hours => $1) where name = $2",
            number,
            name,
        )


async def web_files(opened: ConsolePilot) -> None:
    await opened.press("d")
    await opened.until_seen("Datasets", "EQ-12.json")
    await opened.press("w")
    await opened.until_seen("4 files", "second annotation")
    opened.app.clear_notifications()


@pytest.mark.parametrize("prepare", [web_files], ids=lambda item: item.__name__)
def test_the_screen_looks_as_before(
    snapshot_of: Callable[[Prepare], bool], prepare: Prepare
) -> None:
    assert snapshot_of(prepare)
