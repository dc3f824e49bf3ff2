"""The files of a job on its screen, on their way to the web application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.console_pilot import open_app
from tests.tui.local_console import Console


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """With a completed job."""
    made = Console(tmp_path)
    made.start_agent()
    made.start("job-done", "steps=3", "--name", "the done one")
    made.run("watch", "job-done")
    yield made
    made.kill_agent()


async def test_a_completed_job_goes_up_by_itself_and_a_key_makes_a_link(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    console.environment.update(fresh_supabase.environment())
    async with open_app(console, job="job-done", size=(120, 40)) as opened:
        await opened.press("4")
        await opened.until_seen("adapter_model.safetensors", "Upload", "Link")
        await opened.until_seen("all read back", timeout_s=40)
        await opened.press("k")
        await opened.until_seen("for 7 days, in the clipboard:", "/storage/v1/object/sign/")
        assert "/object/sign/model-artifacts/jobs/" in opened.app.clipboard
        await opened.press("u")
        await opened.until_seen("all read back")
    stored = fresh_supabase.execute("select count(*) as n from public.model_artifacts")
    assert stored[0]["n"] <= 1


async def test_trouble_of_supabase_is_shown_and_the_keys_say_it(
    console: Console, fresh_supabase: SupabaseRig
) -> None:
    console.environment.update(fresh_supabase.environment())
    fresh_supabase.faults.add(path="/storage/v1/", status=503, times=None)
    async with open_app(console, job="job-done") as opened:
        await opened.press("4")
        await opened.until_seen("Supabase: 0 of", "waits: Supabase Storage cannot answer now")
        await opened.press("k")
        await opened.until_seen("has no 'adapter_model.safetensors' in Supabase")


async def test_without_a_project_there_are_no_keys_for_it(console: Console) -> None:
    async with open_app(console, job="job-done") as opened:
        await opened.press("4")
        await opened.until_seen("adapter_model.safetensors")
        assert "Upload" not in opened.text and "Supabase" not in opened.text
