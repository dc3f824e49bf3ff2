"""Brings the adapter home from a network volume on which no machine works any more.

For results that nobody was there to fetch.
"""

from __future__ import annotations

from pathlib import Path

from shared.events import utc_now
from shared.store.stored import StoredJob
from tui.services.artifacts import fetch_adapter
from tui.services.controller.volume_artifacts import VolumeArtifacts
from tui.services.controller.volume_machine import POLL_S, machine_on_volume, visit_for
from tui.services.hosts.host import Step, in_silence
from tui.services.hosts.rented import base_on
from tui.services.providers.provider import Provider
from tui.services.rented_jobs import request_of
from tui.services.session import Session


async def rescue(
    session: Session,
    provider: Provider,
    job: StoredJob,
    destination: Path,
    on_step: Step = in_silence,
    *,
    poll_s: float = POLL_S,
) -> Path:
    """The adapter's directory here, verified; the machine is gone when this returns.

    Raises:
        InvalidInput: the job has no volume, or a machine works on it now.
        IntegrityError: there is no adapter on the volume, or its hashes do not hold.
        ProviderError: no machine is to be had; or the machine may live on, which is said.
    """
    stored = await request_of(session, job)

    def tell(done_bytes: int, total_bytes: int) -> None:
        on_step(f"bringing the adapter home: {100 * done_bytes // max(1, total_bytes)} %")

    visit = visit_for(stored, "to bring the adapter home")
    async with machine_on_volume(session, provider, visit, on_step, poll_s) as host:
        source = VolumeArtifacts(host, f"{base_on(stored.request, job.job_id)}/agent")
        path = await fetch_adapter(source, job.job_id, destination, progress=tell)
    await session.store.rentals.note(job.job_id, utc_now(), f"the adapter is here: {path}")
    return path
