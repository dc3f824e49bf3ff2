"""`brightrun resume`: goes on from an ended job's newest checkpoint, as a new job."""

from __future__ import annotations

from dataclasses import dataclass

from shared.job_options import changed_settings, parse_setting, read_settings
from tui import exit_codes
from tui.commands.output import say_line
from tui.commands.rent_again import agreed_to_rent_again
from tui.commands.rental_progress import say_who_acts
from tui.commands.steps import shown_steps
from tui.commands.terminal_session import open_terminal_session
from tui.services.resumption import resume_job as start_resumption


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """What was typed."""

    settings: tuple[str, ...] = ()
    """Each `NAME=VALUE`."""
    force: bool = False
    """Go on even where dataset, template, base model or versions differ."""
    budget_usd: float | None = None
    """Of a rented job; None: as before."""
    over_limit: str = ""
    """Why a rented job may go beyond the monthly limit."""
    yes: bool = False
    """Rent again unasked."""


async def resume_job(job_id: str, options: ResumeOptions) -> int:
    """Start a new job like one that has ended, from where that one was saved last."""
    typed = read_settings(dict(map(parse_setting, options.settings)))
    typed |= typed.pop("hyperparameters")
    if options.force:
        typed["force_resume"] = True
    async with open_terminal_session() as session:
        job = (await session.mirror.catch_up(await session.store.get_job(job_id))).job
        if not await agreed_to_rent_again(session, job, options.budget_usd, yes=options.yes):
            return exit_codes.CANCELLED
        with shown_steps(job.host) as on_step:
            again = await start_resumption(
                session, job, typed, on_step, options.budget_usd, options.over_limit
            )
        if again.state.rented:
            await say_who_acts(session.store)
    begins_at = again.spec.resume_from
    assert begins_at is not None
    say_line(
        f"{again.job_id} started; it goes on from step {begins_at.step} of {begins_at.job_id}."
    )
    for name, before, after in changed_settings(job.spec, again.spec):
        if name != "resume_from":
            say_line(f"  {name}: {before} -> {after}")
    say_line(f"  brightrun watch {again.job_id}")
    return exit_codes.OK
