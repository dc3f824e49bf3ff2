"""`brightrun fetch`: brings a job's adapter home."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from shared.errors import InvalidInput
from shared.store.stored import StoredJob
from tui import exit_codes
from tui.commands.output import say
from tui.commands.terminal_session import open_terminal_session
from tui.services import artifacts
from tui.services.brought_home import adapter_at_home, copy_adapter, why_not_here
from tui.services.rented_jobs import request_of
from tui.services.session import Session


async def fetch_job(job_id: str, destination: Path) -> int:
    """Download into `destination/<job id>/`, verify, and print that directory on stdout."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        if job.state.rented:
            directory = await _from_home(session, job, destination.expanduser())
            say("the adapter is here, and every hash holds:")
            print(directory)
            return exit_codes.OK
        host = session.host_of(job)
        await host.ensure_agent()
        job = (await session.mirror.catch_up(job)).job
        if not job.state.adapter_verified:
            raise InvalidInput(
                f"{job.job_id} is {job.status} and has no verified adapter to fetch."
            )
        with _progress() as progress:
            async with host.client() as client:
                directory = await artifacts.fetch_adapter(
                    client,
                    job.job_id,
                    destination.expanduser(),
                    manifest_sha256=job.state.adapter_manifest_sha256,
                    progress=progress,
                )
    say("the adapter is here, and every hash holds:")
    print(directory)
    return exit_codes.OK


async def _from_home(session: Session, job: StoredJob, destination: Path) -> Path:
    """Of a rented job: the controller brings it home before the machine is ended."""
    home = adapter_at_home(session.config, job.job_id)
    if home is None:
        raise InvalidInput(why_not_here(job.job_id, await request_of(session, job)))
    expected = job.state.adapter_manifest_sha256
    return await asyncio.to_thread(copy_adapter, home, destination, expected)


@contextmanager
def _progress() -> Iterator[artifacts.Progress]:
    """A bar on stderr where a person looks on, else nothing."""
    if not sys.stderr.isatty():
        yield lambda done_bytes, total_bytes: None
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("fetch", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
