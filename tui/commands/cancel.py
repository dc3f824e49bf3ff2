"""`brightrun cancel`: asks for a job to stop."""

from __future__ import annotations

from shared.errors import AgentRefused
from shared.lifecycle import JobStatus
from tui import exit_codes
from tui.commands.output import say
from tui.commands.session import open_session


async def cancel_job(job_id: str, reason: str) -> int:
    """Pass the wish on to the agent; a job that no agent knows is cancelled right here."""
    async with open_session() as session:
        job = await session.store.get_job(job_id)
        if job.status.is_final:
            say(f"{job.job_id} is {job.status} already.")
            return exit_codes.OK
        await session.host.ensure_agent()
        try:
            async with session.host.client() as client:
                await client.cancel(job.job_id, reason)
        except AgentRefused as refusal:
            if refusal.status_code != 404:
                raise
            detail = reason or "cancelled before it was started"
            job = await session.store.settle_job(job.job_id, JobStatus.CANCELLED, detail)
        else:
            job = (await session.mirror.catch_up(job)).job
    if job.status.is_final:
        say(f"{job.job_id} {job.status}.")
    else:
        say(f"{job.job_id} is being cancelled; `brightrun watch {job.job_id}` follows it.")
    return exit_codes.OK
