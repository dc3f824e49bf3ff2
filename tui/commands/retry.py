"""`brightrun retry`: the same work again, as a new job."""

from __future__ import annotations

from shared.errors import InvalidInput
from tui import exit_codes
from tui.commands.output import say_line
from tui.commands.steps import shown_steps
from tui.commands.terminal_session import open_terminal_session
from tui.services import jobs


async def retry_job(job_id: str) -> int:
    """Start a new job with the settings and the training file of one that has ended."""
    async with open_terminal_session() as session:
        job = (await session.mirror.catch_up(await session.store.get_job(job_id))).job
        if not job.status.is_final:
            raise InvalidInput(
                f"{job.job_id} is {job.status}: only a job that has ended can be retried."
            )
        with shown_steps(job.host) as on_step:
            again = await jobs.retry_job(session, job, on_step)
    say_line(f"{again.job_id} started, a retry of {job.job_id}.")
    say_line(f"  brightrun watch {again.job_id}")
    return exit_codes.OK
