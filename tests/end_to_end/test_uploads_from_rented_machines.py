"""Results of a rented job go to Supabase straight from its machine, or else from home.

The machine holds a token for each file and no other credential; no trouble of Supabase's keeps it.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from shared.lifecycle import JobStatus
from shared.store.uploads import UploadState
from tests.end_to_end.rented import Rented, check_invariants, story, until_final
from tests.fakes.supabase.rig import SupabaseRig
from tests.remote.remote_box import needs_a_box
from tests.tui.services.artifact_uploads.completed import (
    require_same_bytes,
    uploads_of,
    worker_for,
)
from tui.services.session import Session

pytestmark = [needs_a_box, pytest.mark.slow]


@pytest.fixture
def rig(fresh_supabase: SupabaseRig, monkeypatch: pytest.MonkeyPatch) -> SupabaseRig:
    """A project that the environment names, with its secret key."""
    for name, value in fresh_supabase.environment().items():
        monkeypatch.setenv(name, value)
    return fresh_supabase


async def verified_later(session: Session, rig: SupabaseRig, job_id: str) -> None:
    """What the background does once the job has ended."""
    worker = worker_for(session, rig.settings())
    for _ in range(3):
        await worker.look()
    uploads = await uploads_of(session, job_id)
    assert {each.state for each in uploads.values()} == {UploadState.VERIFIED}, uploads
    require_same_bytes(rig, uploads)


def occurrences(text: str, directory: Path) -> list[str]:
    found = subprocess.run(
        ["grep", "-rlF", text, str(directory)], capture_output=True, text=True, check=False
    )
    return found.stdout.splitlines()


async def test_a_machine_uploads_its_results_before_it_is_ended(
    user: Rented, rig: SupabaseRig
) -> None:
    volume = user.volume()
    async with user.controlled() as (session, _):
        request = user.request(network_volume_id=volume)
        await user.start(session, "job-up", "steps=3", request)

        job = await until_final(session, "job-up")

        told = await story(session, "job-up")
        assert job.status is JobStatus.COMPLETED, told
        assert "the results are in Supabase" in told
        uploads = await uploads_of(session, "job-up")
        assert "adapter_model.safetensors" in uploads
        assert {each.state for each in uploads.values()} == {UploadState.UPLOADED}
        # Straight from there: this console has begun no upload of its own.
        assert list((user.config.home / "uploads").glob("begun-*.json")) == []
        assert occurrences(rig.service_key, user.fake.volume_directory(volume)) == []
        require_same_bytes(rig, uploads)
        await verified_later(session, rig, "job-up")
        await check_invariants(user, session, "job-up")


async def test_a_supabase_that_is_down_keeps_no_machine_and_loses_no_adapter(
    user: Rented, rig: SupabaseRig
) -> None:
    rig.stop("gateway")
    try:
        async with user.controlled() as (session, _):
            await user.start(session, "job-down", "steps=3", user.request())
            job = await until_final(session, "job-down")
            told = await story(session, "job-down")
            assert job.status is JobStatus.COMPLETED, told
            assert "go to Supabase from here" in told
            await check_invariants(user, session, "job-down")
    finally:
        rig.start("gateway")
    async with user.session() as session:
        await verified_later(session, rig, "job-down")


async def test_a_supabase_that_answers_and_takes_nothing_is_left_after_its_time(
    user: Rented, rig: SupabaseRig
) -> None:
    rig.faults.add(method="PATCH", path="/upload/resumable", times=None, hang=True)
    async with user.controlled(upload_limit_s=3.0) as (session, _):
        await user.start(session, "job-hang", "steps=3", user.request())
        began = time.monotonic()
        job = await until_final(session, "job-hang")
        told = await story(session, "job-hang")
        assert job.status is JobStatus.COMPLETED, told
        assert "it took too long from the machine" in told
        assert time.monotonic() - began < 50
        rig.faults.clear()
        await verified_later(session, rig, "job-hang")
        await check_invariants(user, session, "job-hang")
