"""`brightrun clone`: a new job of another one's settings, which need not have ended."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import InvalidInput
from shared.job_options import changed_settings, parse_setting, read_settings
from shared.store.stored import StoredJob
from tui import exit_codes
from tui.commands.output import say_line
from tui.commands.rent_again import agreed_to_rent_again
from tui.commands.rental_progress import say_who_acts
from tui.commands.steps import shown_steps
from tui.commands.terminal_session import open_terminal_session
from tui.services.cloning import clone_job, cloned_spec, host_of_clone
from tui.services.hosts.names import shown_host
from tui.services.jobs import Again
from tui.services.queue import WHO_STARTS
from tui.views.job_draft import name_problem


@dataclass(frozen=True, slots=True)
class CloneOptions:
    """What was typed."""

    settings: tuple[str, ...] = ()
    """Each `NAME=VALUE`."""
    name: str | None = None
    """None: as the job that is cloned."""
    host: str | None = None
    queue: bool = False
    budget_usd: float | None = None
    """Of a rented job; None: as before."""
    over_limit: str = ""
    yes: bool = False
    """Rent again unasked."""


async def start_clone(job_id: str, options: CloneOptions) -> int:
    """Start a new job like one that is there, and say what differs."""
    changes = read_settings(dict(map(parse_setting, options.settings)))
    changes |= changes.pop("hyperparameters")
    if options.name is not None:
        if problem := name_problem(options.name):
            raise InvalidInput(f"--name: {problem}")
        changes["name"] = options.name
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        cloned_spec(job.spec, changes)  # What is wrong with it is said before anybody is asked.
        host = host_of_clone(job, options.host)
        if host is None:
            agreed = await agreed_to_rent_again(session, job, options.budget_usd, yes=options.yes)
            if not agreed:
                return exit_codes.CANCELLED
        elif options.budget_usd is not None:
            raise InvalidInput(f"--budget: nothing is rented on {host}.")
        again = Again(
            host=host,
            waits_for_turn=options.queue,
            budget_usd=options.budget_usd,
            over_limit=options.over_limit,
        )
        with shown_steps(host or job.host) as on_step:
            clone = await clone_job(session, job, changes, again, on_step)
        if clone.state.rented:
            await say_who_acts(session.store)
    _say_outcome(job, clone)
    return exit_codes.OK


def _say_outcome(job: StoredJob, clone: StoredJob) -> None:
    if clone.waits_for_turn:
        say_line(f"{clone.job_id} waits for its turn, a clone of {job.job_id}; {WHO_STARTS}.")
    else:
        say_line(f"{clone.job_id} started, a clone of {job.job_id}.")
    differences = changed_settings(job.spec, clone.spec)
    if clone.spec.name != job.spec.name:
        differences.insert(0, ("name", job.spec.name, clone.spec.name))
    if shown_host(clone.host) != shown_host(job.host):
        differences.append(("host", shown_host(job.host), shown_host(clone.host)))
    for name, before, after in differences:
        say_line(f"  {name}: {before} -> {after}")
    say_line(f"  brightrun watch {clone.job_id}")
