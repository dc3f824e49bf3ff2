"""Which base models lie on network volumes already, as our own jobs have told; asks no machine.

What is not known is taken as not there: the job would then begin with a download, which is the
dearer of the two and the safer forecast.
"""

from __future__ import annotations

from shared.events import ModelProgress, RunFacts, utc_now
from shared.machine_request import MachineRequest
from shared.model_cache import is_commit
from shared.store.cached_models import ModelOnVolume
from shared.store.store import Store
from shared.store.stored import StoredJob


async def note_from_job(store: Store, job: StoredJob, request: MachineRequest) -> None:
    """Remember what the job's trainer has said: it loads a copy only once that is complete."""
    if request.network_volume_id is None:
        return
    said = await store.events_of(job.job_id, ModelProgress)
    loaded = [progress for progress in said if progress.what == "loading"]
    revision = await _commit_of(store, job)
    if not loaded or revision is None:
        return
    size_bytes = loaded[-1].total_bytes or None
    await note_on_volume(
        store, request.network_volume_id, job.spec.base_model, revision, size_bytes
    )


async def _commit_of(store: Store, job: StoredJob) -> str | None:
    """Frozen at the start; where the hub did not answer then, as the trainer found it."""
    if is_commit(job.spec.base_model_revision):
        return job.spec.base_model_revision
    facts = await store.events_of(job.job_id, RunFacts, last=1)
    found = facts[0].base_model_revision if facts else None
    return found if is_commit(found) else None


async def note_on_volume(
    store: Store, volume_id: str, base_model: str, revision: str, size_bytes: int | None = None
) -> None:
    """A machine has seen a complete copy of it there."""
    seen = ModelOnVolume(volume_id, base_model, revision, size_bytes, utc_now())
    await store.cached_models.put(seen)
