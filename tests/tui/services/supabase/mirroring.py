"""What tests of the mirror share: a session, a worker at test pace, rows on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from shared.events import JournalRecord, utc_now
from shared.store.schema import uploads, web_training_files
from shared.store.store import Store
from shared.web_id import web_job_id
from tests.fakes.supabase.rig import SupabaseRig
from tests.shared.store.journal import job_spec
from tui.config import Config
from tui.services.session import Session, open_session
from tui.services.supabase.connection import connected
from tui.services.supabase.mirror_worker import MirrorPace, MirrorWorker
from tui.services.supabase.sender import Sender
from tui.services.supabase.settings import SupabaseSettings

QUICK = MirrorPace(
    tick_s=0.02,
    artifacts_s=0.05,
    refresh_s=0.05,
    first_pause_s=0.02,
    longest_pause_s=0.1,
    refused_pause_s=0.1,
    longest_refused_pause_s=0.2,
)
DEADLINE_S = 60.0

ROW_COLUMNS = "attempt, step, epoch, loss, learning_rate, grad_norm, tokens, eval_loss"


@asynccontextmanager
async def session_in(home: Path) -> AsyncIterator[Session]:
    async with open_session(Config(home, home / "agent")) as session:
        yield session


async def add_job(store: Store, records: Iterable[JournalRecord], job_id: str = "job-one") -> None:
    await store.add_job(job_spec(job_id), "local")
    await store.apply_records(job_id, records)


async def send_once(session: Session, settings: SupabaseSettings) -> None:
    """One pass of the mirror."""
    worker = MirrorWorker(session, settings, lambda text: None, pace=QUICK)
    async with connected(settings, session.config.supabase_session_path) as supabase:
        sender = Sender(session.store, supabase, settings.target)
        while not await worker.send_all(sender):
            pass


@asynccontextmanager
async def mirroring(
    session: Session, settings: SupabaseSettings, said: list[str] | None = None
) -> AsyncIterator[None]:
    """A worker at work while inside."""
    say = (lambda text: None) if said is None else said.append
    running = asyncio.create_task(MirrorWorker(session, settings, say, pace=QUICK).run())
    try:
        yield
    finally:
        assert not running.done(), running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@contextmanager
def nobody_answers(rig: SupabaseRig) -> Iterator[Callable[[], None]]:
    """The project is away; what it yields brings it back, once."""
    rig.stop("gateway")
    away = [True]

    def back() -> None:
        if away:
            away.clear()
            rig.start("gateway")

    try:
        yield back
    finally:
        back()


async def until(holds: Callable[[], Any], what: str) -> None:
    """Wait for something on the other side; looks from a thread, since the rig's calls block."""
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.02)
    assert what


async def until_nothing_lags(session: Session, rig: SupabaseRig, target: str | None = None) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await session.store.mirror_progress.lagging(target or rig.settings().target):
            await asyncio.sleep(0.02)


async def web_id(store: Store, job_id: str = "job-one") -> str:
    return web_job_id(await store.rentals.mark(), job_id)


def jobs_there(rig: SupabaseRig) -> list[dict[str, Any]]:
    return rig.execute("select * from training_jobs order by brightrun_job_id")


def metrics_there(rig: SupabaseRig) -> list[tuple[Any, ...]]:
    found = rig.execute(
        f"select {ROW_COLUMNS} from training_metrics_history order by attempt, step"
    )
    return [tuple(row.values()) for row in found]


def metric_count(rig: SupabaseRig) -> int:
    return int(rig.execute("select count(*) as rows from training_metrics_history")[0]["rows"])


async def metrics_here(store: Store, job_id: str = "job-one") -> list[tuple[Any, ...]]:
    """Every row of the store's own table, not only the latest of each step."""
    from sqlalchemy import text

    query = text(
        f"select {ROW_COLUMNS} from training_metrics_history "
        "where training_job_id = :job order by attempt, step"
    )
    async with store.database.reading() as connection:
        return [tuple(row) for row in await connection.execute(query, {"job": job_id})]


async def link_file(store: Store, file_id: str) -> None:
    """As if the jobs' training file had come from that row of the web application."""
    row = {
        "id": file_id,
        "sha256": job_spec().dataset.sha256,
        "name": "file",
        "path": "/somewhere",
        "fetched_at": utc_now(),
    }
    extra = {each.name: "" for each in web_training_files.columns if not each.nullable}
    async with store.database.writing() as connection:
        await connection.execute(insert(web_training_files).values({**extra, **row}))


async def put_object(store: Store, name: str) -> None:
    """As if that file of job-one had been uploaded, and read back."""
    row = {
        "object_name": name,
        "training_job_id": "job-one",
        "attempt": 1,
        "artifact_type": "lora_adapter",
        "file_name": name.rpartition("/")[2],
        "sha256": "c" * 64,
        "size_bytes": 414,
        "content_type": "application/octet-stream",
        "state": "verified",
        "sent_bytes": 414,
        "error": "",
        "updated_at": utc_now(),
    }
    extra = {each.name: "" for each in uploads.columns if not each.nullable}
    async with store.database.writing() as connection:
        await connection.execute(insert(uploads).values({**extra, **row}))
