"""`brightrun answer`: answers what a rented job asks."""

from __future__ import annotations

from shared.errors import InvalidInput
from tui import exit_codes
from tui.commands.rental_progress import say_who_acts
from tui.commands.terminal_session import open_terminal_session
from tui.services.rental_watch import RentalSight
from tui.services.rented_jobs import STOP, answer_question, cancel_rented_job, request_of
from tui.views.rental_answers import answers_to, how_to_answer, typed_answer


async def answer_job(job_id: str, typed: str) -> int:
    """Write the answer down for whoever controls the job.

    Raises:
        InvalidInput: the job asks nothing, or this is no answer to it.
    """
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        sight = RentalSight(await request_of(session, job))
        if not sight.rental.question:
            raise InvalidInput(f"{job.job_id} asks nothing: `brightrun show {job.job_id}`.")
        answer = _answer(typed, sight)
        if answer == STOP:
            await cancel_rented_job(session, job, sight.rental.question)
        else:
            await answer_question(session, job, answer)
        await say_who_acts(session.store, f"{job.job_id}: answered.")
    return exit_codes.OK


def _answer(typed: str, sight: RentalSight) -> str:
    """As the controller understands it."""
    if typed_answer(sight) and typed.startswith("SHA256:"):
        return typed.strip()
    if sight.rental.over_limit and typed.strip().lower() != STOP:
        return typed
    answer = " ".join(typed.lower().replace("_", " ").replace("-", " ").split())
    if answer not in [known.text for known in answers_to(sight)]:
        question = sight.rental.question
        raise InvalidInput(f"{typed!r} is no answer to: {question} {how_to_answer(sight)}")
    return answer
