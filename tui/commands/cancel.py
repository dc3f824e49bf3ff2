"""`brightrun cancel`: asks for a job to stop."""

from __future__ import annotations

from tui import exit_codes
from tui.commands.output import say
from tui.commands.rental_progress import say_who_acts
from tui.commands.terminal_session import open_terminal_session
from tui.services import jobs


async def cancel_job(job_id: str, reason: str) -> int:
    """Pass the wish on, and say how far it came."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        if job.status.is_final:
            say(f"{job.job_id} is {job.status} already.")
            return exit_codes.OK
        job = await jobs.cancel_job(session, job, reason)
        if job.state.rented and not job.status.is_final:
            await say_who_acts(session.store)
    if job.status.is_final:
        say(f"{job.job_id} {job.status}.")
    else:
        say(f"{job.job_id} is being cancelled; `brightrun watch {job.job_id}` follows it.")
    return exit_codes.OK
