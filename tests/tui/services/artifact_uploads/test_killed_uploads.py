"""A console that is killed while it uploads: the next one goes on, and sends no byte twice."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from shared.store.uploads import UploadState
from tests.fakes.supabase.rig import SupabaseRig
from tests.tui.services.artifact_uploads.completed import (
    at_home,
    require_same_bytes,
    uploads_of,
    worker_for,
)

_ROOT = Path(__file__).parents[4]
_WEIGHTS = os.urandom(4 * 2**20)
_CHUNK = 64 * 1024


async def _patches(rig: SupabaseRig) -> int:
    return sum(request.method == "PATCH" for request in rig.requests)


async def test_a_killed_upload_goes_on_where_the_server_is(
    fresh_supabase: SupabaseRig, home: Path
) -> None:
    rig = fresh_supabase
    async with at_home(home, weights=_WEIGHTS):
        pass
    rig.faults.add(method="PATCH", path="/upload/resumable", times=None, delay_s=0.05)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.tui.services.artifact_uploads.upload_process",
        str(home),
        cwd=_ROOT,
        env={**os.environ, **rig.environment()},
    )
    try:
        async with asyncio.timeout(30):
            while await _patches(rig) < 20:
                await asyncio.sleep(0.02)
    finally:
        process.kill()
        await process.wait()
    rig.faults.clear()
    before = max(rig.tus.offsets().values())
    assert 0 < before < len(_WEIGHTS)
    rig.requests.clear()

    async with at_home(home) as (session, _):
        await worker_for(session, rig.settings()).look()
        uploads = await uploads_of(session)
        assert {upload.state for upload in uploads.values()} == {UploadState.VERIFIED}
        require_same_bytes(rig, uploads)
    # What is left of the weights, and no more than three small files beside them.
    assert await _patches(rig) <= -(-(len(_WEIGHTS) - before) // _CHUNK) + 3
