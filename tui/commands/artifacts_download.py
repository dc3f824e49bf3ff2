"""`brightrun artifacts download`, `link`, `zip` and `unpack`: handing adapters on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from shared.events import utc_now
from shared.number_text import date_and_clock, size
from tui import exit_codes
from tui.commands.output import say
from tui.commands.progress_bar import shown_progress
from tui.commands.terminal_session import open_terminal_session
from tui.services.artifact_uploads.fetching import download_adapter, link_to, package_adapter
from tui.services.artifact_uploads.unpacking import unpack


async def download(job: str, destination: Path) -> int:
    """Fetch an adapter from Supabase, verify it, and print its directory on stdout."""
    async with open_terminal_session() as session:
        with shown_progress("download") as progress:
            directory = await download_adapter(session, job, destination.expanduser(), progress)
    say("the adapter is here, and every hash holds:")
    print(directory)
    return exit_codes.OK


async def make_link(job: str, file_name: str, lifetime: timedelta) -> int:
    """Print a URL on stdout, and on stderr what it lets anybody do."""
    async with open_terminal_session() as session:
        url = await link_to(session, job, file_name, int(lifetime.total_seconds()))
    say(
        f"whoever has this link reads {file_name} until {date_and_clock(utc_now() + lifetime)}; "
        "it cannot be taken back, except by removing the file."
    )
    print(url)
    return exit_codes.OK


async def make_zip(job_id: str, target: Path) -> int:
    """Write the job's adapter with a README for somebody else, and print the file's path."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        with shown_progress("fetching the adapter") as progress:
            path = await package_adapter(session, job, target.expanduser(), progress)
    say(f"{size(path.stat().st_size)}; the same adapter gives the same bytes:")
    print(path)
    return exit_codes.OK


async def unpack_archive(archive: Path, target: Path) -> int:
    """Unpack somebody's adapter, verified, and print its directory on stdout."""
    adapter = await asyncio.to_thread(unpack, archive.expanduser(), target.expanduser())
    say("every hash of its manifest holds; who made it is for you to know:")
    print(adapter)
    return exit_codes.OK
