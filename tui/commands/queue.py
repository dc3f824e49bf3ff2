"""`brightrun queue`: the line of waiting jobs, and changes to its order and limits."""

from __future__ import annotations

from shared.errors import InvalidInput
from shared.number_text import date_and_clock, many
from shared.store.store_settings import CONCURRENT_JOBS, OWN_HOST_JOBS
from shared.turns import TurnLimits
from tui import exit_codes
from tui.commands.output import print_json, print_table, say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.host_queue import turn_limits
from tui.services.hosts.names import shown_host
from tui.services.queue import WHO_STARTS, QueuedJob, queued_jobs
from tui.services.session import Session

_MOST_JOBS = 20


async def list_queue(*, as_json: bool) -> int:
    """Print the line: who is next, and what each one waits for."""
    async with open_terminal_session() as session:
        await _print_queue(session, as_json=as_json)
    return exit_codes.OK


async def move_job(job_id: str, place: int) -> int:
    """Let a waiting job stand at another place, counted from 1; then print the line."""
    if place < 1:
        raise InvalidInput(f"place {place}: the first one is 1.")
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        await session.store.queue.move(job.job_id, place)
        await _print_queue(session, as_json=False)
    return exit_codes.OK


async def show_or_set_limit(jobs: int | None, jobs_per_host: int | None) -> int:
    """Set what was typed, and say what holds."""
    async with open_terminal_session() as session:
        for name, number in ((CONCURRENT_JOBS, jobs), (OWN_HOST_JOBS, jobs_per_host)):
            if number is None:
                continue
            if not 1 <= number <= _MOST_JOBS:
                raise InvalidInput(f"limit {number}: must be from 1 to {_MOST_JOBS}.")
            await session.store.settings.put(name, number)
        say_line(limit_words(await turn_limits(session)))
    return exit_codes.OK


def limit_words(limits: TurnLimits) -> str:
    """The limits, for people."""
    in_all, on_a_host = many(limits.in_all, "job"), many(limits.on_a_host, "job")
    return f"at once: {in_all} on rented machines, {in_all} on your own, {on_a_host} a host."


async def _print_queue(session: Session, *, as_json: bool) -> None:
    queued, limits = await queued_jobs(session), await turn_limits(session)
    if as_json:
        described = {"concurrent_jobs": limits.in_all, "own_host_jobs": limits.on_a_host}
        print_json({**described, "jobs": [each.to_dict() for each in queued]})
        return
    if not queued:
        say("nothing waits; `brightrun start --queue` lets a job wait for its turn.")
        return
    headers = ["PLACE", "JOB", "NAME", "HOST", "SINCE", "WHY"]
    print_table(headers, [_row(each) for each in queued], shrinking="WHY")
    say(f"{limit_words(limits)} A job in the line: {WHO_STARTS}.")


def _row(queued: QueuedJob) -> list[str]:
    job = queued.job
    return [
        str(queued.place),
        job.job_id,
        job.spec.name,
        shown_host(job.host),
        date_and_clock(queued.since),
        queued.why or "its turn is next",
    ]
