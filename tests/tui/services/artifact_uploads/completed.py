"""A user with a completed job whose adapter is at home, and a Supabase project on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.store.stored import StoredJob
from shared.store.uploads import StoredUpload
from shared.upload.client import UploadSettings
from tests.fakes.supabase.rig import SupabaseRig
from tests.shared.store.journal import completed_job, job_spec
from tests.tui.services.artifact_uploads.adapters import WEIGHTS, make_adapter
from tui.config import Config
from tui.services.artifact_uploads.gathering import owner_of
from tui.services.artifact_uploads.sending import SendingSettings
from tui.services.artifact_uploads.worker import Worker, WorkerSettings
from tui.services.session import Session, open_session
from tui.services.supabase.settings import SupabaseSettings

QUICK = WorkerSettings(
    tick_s=0.05,
    first_pause_s=0.0,
    longest_pause_s=0.0,
    sending=SendingSettings(
        note_s=0.02,
        poll_s=0.05,
        stall_s=2.0,
        client=UploadSettings(
            chunk_bytes=64 * 1024, first_delay_s=0.01, longest_delay_s=0.05, patience_s=2.0
        ),
    ),
)
FILES = {
    "adapter_model.safetensors",
    "adapter_config.json",
    "tokenizer.json",
    "README.md",
    "manifest.json",
    "metrics.csv",
    "run_report.json",
}
"""What goes up of such a job; its log was never kept."""


@asynccontextmanager
async def at_home(
    home: Path, job_id: str = "job-one", weights: bytes = WEIGHTS
) -> AsyncIterator[tuple[Session, StoredJob]]:
    """A session; called again for the same home, the job is there already."""
    directory = home / "adapters" / job_id / "adapter"
    async with open_session(Config(home, home / "agent")) as session:
        if not directory.exists():
            own = make_adapter(directory, weights)
            await session.store.add_job(job_spec(job_id), "local")
            await session.store.apply_records(job_id, completed_job(3, job_id, own))
        yield session, await session.store.get_job(job_id)


def worker_for(session: Session, supabase: SupabaseSettings) -> Worker:
    """With shorter waits."""
    return Worker(session, supabase, settings=QUICK)


async def uploads_of(session: Session, job_id: str = "job-one") -> dict[str, StoredUpload]:
    """By file name."""
    return {each.file_name: each for each in await session.store.uploads.of_job(job_id)}


async def own_row(session: Session, rig: SupabaseRig, job: StoredJob, user_id: str) -> str:
    """What the mirror does before: the job's row, which the storage policies ask for."""
    owner = await owner_of(session, job)
    rig.execute(
        "insert into public.training_jobs (id, status, created_by) values ($1, 'completed', $2)",
        owner.web_id,
        user_id,
    )
    return owner.web_id


def require_same_bytes(rig: SupabaseRig, uploads: dict[str, StoredUpload]) -> None:
    """Each object has the bytes whose hash the store has."""
    for upload in uploads.values():
        content = rig.storage.bytes_of("model-artifacts", upload.object_name)
        assert hashlib.sha256(content).hexdigest() == upload.sha256
        assert len(content) == upload.size_bytes
