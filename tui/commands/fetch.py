"""`brightrun fetch`: brings a job's adapter home."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from shared.errors import InvalidInput
from tui import exit_codes
from tui.commands.output import say
from tui.commands.terminal_session import open_terminal_session
from tui.services import artifacts


async def fetch_job(job_id: str, destination: Path) -> int:
    """Download into `destination/<job id>/`, verify, and print that directory on stdout."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
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
