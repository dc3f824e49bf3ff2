"""`brightrun retry`: the same work again as a new job, changed where that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput
from shared.job_options import changed_settings, parse_setting, read_settings
from shared.store.stored import StoredJob
from tui import exit_codes
from tui.commands.output import say_line
from tui.commands.rent_again import agreed_to_rent_again
from tui.commands.rental_progress import say_who_acts
from tui.commands.steps import shown_steps
from tui.commands.terminal_session import open_terminal_session
from tui.services import jobs
from tui.services.session import Session
from tui.services.suggestions import changes_of, chosen_suggestion, suggestions_for


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """What was typed."""

    settings: tuple[str, ...] = ()
    """Each `NAME=VALUE`; they are laid over what is suggested."""
    suggestion: int | None = None
    """Which one of those that `brightrun show` lists, from 1; None: none of them."""
    budget_usd: float | None = None
    """Of a rented job; None: as before."""
    over_limit: str = ""
    """Why a rented job may go beyond the monthly limit."""
    yes: bool = False
    """Rent again unasked."""


async def retry_job(job_id: str, options: RetryOptions) -> int:
    """Start a new job with the settings and the training file of one that has ended."""
    typed = read_settings(dict(map(parse_setting, options.settings)))
    typed |= typed.pop("hyperparameters")
    async with open_terminal_session() as session:
        job = (await session.mirror.catch_up(await session.store.get_job(job_id))).job
        if not job.status.is_final:
            raise InvalidInput(
                f"{job.job_id} is {job.status}: only a job that has ended can be retried."
            )
        changes = {**await _suggested(session, job, options.suggestion), **typed}
        if not await agreed_to_rent_again(session, job, options.budget_usd, yes=options.yes):
            return exit_codes.CANCELLED
        with shown_steps(job.host) as on_step:
            again = await jobs.retry_job(
                session, job, on_step, changes, options.budget_usd, options.over_limit
            )
        if again.state.rented:
            await say_who_acts(session.store)
    say_line(f"{again.job_id} started, a retry of {job.job_id}.")
    for name, before, after in changed_settings(job.spec, again.spec):
        say_line(f"  {name}: {before} -> {after}")
    say_line(f"  brightrun watch {again.job_id}")
    return exit_codes.OK


async def _suggested(session: Session, job: StoredJob, number: int | None) -> dict[str, Any]:
    if number is None:
        return {}
    found = await suggestions_for(session.store, job)
    suggestion = chosen_suggestion(found, number, job.job_id)
    say_line(suggestion.reason)
    return await changes_of(session.store, job, suggestion)
