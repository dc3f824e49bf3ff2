"""`brightrun logs`: the trainer's own output, from the host it runs on, or as it was kept."""

from __future__ import annotations

import asyncio
import sys

from shared.clean_text import clean_output
from tui import exit_codes
from tui.commands.terminal_session import open_terminal_session
from tui.services import trainer_log
from tui.services.kept_logs import kept_log


async def print_logs(job_id: str, *, attempt: int | None, follow: bool, last_lines: int) -> int:
    """Print the last lines; with `follow`, go on until the job's end."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        rented = await session.store.rentals.get(job.job_id)
        if rented is not None and rented.rental.machine is None:
            home = session.config.home
            _print(await asyncio.to_thread(kept_log, home, job.job_id, attempt, last_lines))
            return exit_codes.OK
        host = session.host_of(job)
        await host.ensure_agent()
        async with host.client() as client:
            last = await trainer_log.tail(client, job.job_id, attempt, last_lines)
            _print(last.text)
            if follow:
                async for text in trainer_log.follow(
                    client, job.job_id, last.attempt, last.next_offset
                ):
                    _print(text)
    return exit_codes.OK


def _print(text: str) -> None:
    sys.stdout.write(clean_output(text))
    sys.stdout.flush()
