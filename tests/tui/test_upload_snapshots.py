"""What a job's files look like on their way up, as `test_snapshots` does for every other screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.agent_protocol import ArtifactFile
from shared.store.uploads import ArtifactType, PlannedUpload, UploadState
from tests.tui.console_pilot import ConsolePilot
from tests.tui.local_console import end_agents_under
from tests.tui.test_snapshots import DONE, Prepare, job, size, snapshot_of
from tui.widgets.adapter_files import AdapterFiles

__all__ = ["size", "snapshot_of"]  # fixtures

_TARGET = "https://one.example#public"


@pytest.fixture(autouse=True)
def no_agent_stays(tmp_path: Path) -> Iterator[None]:
    """The pane of files asks the job's host, which brings up an agent there."""
    yield
    end_agents_under(tmp_path)


async def on_its_way(opened: ConsolePilot) -> None:
    """One file moves, one is there, one waits for a reason."""
    await job(opened)
    assert opened.app.session is not None
    uploads = opened.app.session.store.uploads
    names = ("README.md", "adapter_model.safetensors", "metrics.csv")
    sizes = (9_000, 414_187_520, 20_000)
    kinds = (ArtifactType.FILE, ArtifactType.LORA_ADAPTER, ArtifactType.FILE)
    planned = [
        PlannedUpload(f"jobs/x/{name}", DONE, 1, kind, name, "a" * 64, size_bytes, "", "/x")
        for name, size_bytes, kind in zip(names, sizes, kinds, strict=True)
    ]
    await uploads.plan(_TARGET, planned)
    await uploads.note("jobs/x/README.md", UploadState.VERIFIED, sent_bytes=9_000)
    await uploads.note(
        "jobs/x/adapter_model.safetensors",
        UploadState.UPLOADING,
        sent_bytes=207_093_760,
        bytes_per_s=12_500_000.0,
    )
    why = "Supabase Storage refuses: new row violates row-level security policy (403)."
    await uploads.note("jobs/x/metrics.csv", UploadState.WAITING, error=why)
    await opened.press("4")
    files = tuple(ArtifactFile(path=f"adapter/{n}", size_bytes=9, sha256="b" * 64) for n in names)
    shown = opened.job_screen.query_one(AdapterFiles)
    shown._asked_for = opened.app.news[DONE].job.state.adapter_manifest_sha256
    shown.post_message(AdapterFiles.Listed(files, "/workspace/adapter"))
    await opened.until_seen("50 %", "row-level", "bbbbb")
    opened.app.clear_notifications()


def test_files_on_their_way_look_as_before(snapshot_of: Callable[[Prepare], bool]) -> None:
    assert snapshot_of(on_its_way)
