"""`brightrun answer`: answers what a rented job asks."""

from __future__ import annotations

from shared.errors import InvalidInput
from tui import exit_codes
from tui.commands.rental_progress import say_who_acts
from tui.commands.terminal_session import open_terminal_session
from tui.services.rented_jobs import GO_ON, STOP, answer_question, request_of

ANSWERS = (GO_ON, STOP)


async def answer_job(job_id: str, typed: str) -> int:
    """Write the answer down for whoever controls the job.

    Raises:
        InvalidInput: the job asks nothing, or this is no answer to it.
    """
    answer = " ".join(typed.lower().replace("_", " ").replace("-", " ").split())
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        if answer not in ANSWERS:
            question = (await request_of(session, job)).rental.question
            told = f" It asks: {question}" if question else ""
            raise InvalidInput(f'{typed!r} is no answer; there are "{GO_ON}" and "{STOP}".{told}')
        await answer_question(session, job, answer)
        await say_who_acts(session.store, f"{job.job_id}: answered.")
    return exit_codes.OK
