"""A console that mirrors a real local job to a real PostgreSQL, and says how far it is."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.lifecycle import JobStatus
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.local_console import STAND_IN, Console
from tests.tui.services.supabase.mirroring import (
    jobs_there,
    metrics_here,
    metrics_there,
    nobody_answers,
    until,
    until_nothing_lags,
)


@pytest.fixture
def console(
    fresh_supabase: SupabaseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Console]:
    for name, value in fresh_supabase.environment().items():
        monkeypatch.setenv(name, value)
    made = Console(tmp_path)
    made.root.mkdir()
    command = json.dumps({"command": [sys.executable, "-P", str(STAND_IN)]})
    (made.root / "trainer.json").write_text(command)
    yield made
    if (made.root / "agent.json").exists():
        made.end_detached_agent()


async def ended(opened: ConsolePilot, job_id: str) -> None:
    await opened.until(
        lambda: job_id in opened.app.news and opened.app.news[job_id].job.status.is_final, 60
    )


@pytest.mark.slow
async def test_a_job_that_a_console_watches_is_in_the_web_applications_tables(
    fresh_supabase: SupabaseRig, console: Console
) -> None:
    rig = fresh_supabase
    async with open_app(console) as opened:
        await console.start_beside("job-seen", "steps=40 delay=0.05", "Seen from afar")
        await until(lambda: len(metrics_there(rig)) > 3, "steps arrive while it trains")
        assert jobs_there(rig)[0]["status"] == "training"
        await ended(opened, "job-seen")
        session = opened.app.session
        assert session is not None
        await until_nothing_lags(session, rig)
        await opened.until_seen("Supabase: up to date")
        assert (await session.store.get_job("job-seen")).status is JobStatus.COMPLETED
        assert metrics_there(rig) == await metrics_here(session.store, "job-seen")
    [row] = jobs_there(rig)
    assert (row["status"], row["name"]) == ("completed", "Seen from afar")


@pytest.mark.slow
async def test_a_project_that_is_away_stops_no_job_and_is_said_on_the_screen(
    fresh_supabase: SupabaseRig, console: Console
) -> None:
    rig = fresh_supabase
    with nobody_answers(rig) as back:
        async with open_app(console) as opened:
            await console.start_beside("job-alone", "steps=10 delay=0.05", "On its own")
            await ended(opened, "job-alone")
            job = opened.app.news["job-alone"].job
            assert job.status is JobStatus.COMPLETED
            await opened.until_seen("Supabase: unreachable since")
            await asyncio.to_thread(back)
            await opened.until_seen("Supabase: up to date", timeout_s=40)
    assert jobs_there(rig)[0]["status"] == "completed"


async def test_without_a_project_nothing_is_said(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPABASE_URL")
    del console.environment["SUPABASE_URL"]
    async with open_app(console) as opened:
        await opened.until_seen("No jobs yet")
        assert "Supabase" not in opened.text
