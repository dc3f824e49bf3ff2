"""`brightrun jobs`: all jobs, brought up to date as far as their agent answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from shared.lifecycle import JobStatus
from shared.number_text import date_and_clock, loss
from tui import exit_codes
from tui.commands.output import print_json, print_table, say
from tui.commands.show import unreachable_line
from tui.commands.terminal_session import open_terminal_session
from tui.services.mirror import Sight
from tui.services.session import Session
from tui.services.suggestions import suggestions_for


async def list_jobs(statuses: Iterable[JobStatus], *, as_json: bool) -> int:
    """Print the jobs with one of `statuses`; all of them if there are none."""
    wanted = set(statuses)
    async with open_terminal_session() as session:
        sights = [
            sight for sight in await _sights(session) if not wanted or sight.job.status in wanted
        ]
        described = [await _to_dict(session, sight) for sight in sights] if as_json else []
    if as_json:
        print_json(described)
    elif not sights:
        say("no jobs yet; `brightrun start --dataset FILE` starts one." if not wanted else "none.")
    else:
        headers = ["JOB", "NAME", "STATUS", "ACTIVITY", "STEP", "LOSS", "HELD OUT", "CREATED"]
        print_table(headers, [_row(sight) for sight in sights], shrinking="NAME")
    for sight in sights:
        if sight.unreachable is not None:
            say(f"{sight.job.job_id}: {unreachable_line(sight)}")
    return exit_codes.OK


async def _sights(session: Session) -> list[Sight]:
    # At once: a host that is away costs its patience only once.
    jobs = await session.store.list_jobs()
    return await asyncio.gather(*(session.mirror.catch_up(job) for job in jobs))


async def _to_dict(session: Session, sight: Sight) -> dict[str, object]:
    job = sight.job
    suggestions = await suggestions_for(session.store, job)
    return {
        **job.to_dict(),
        "unreachable": sight.unreachable,
        "suggestions": [suggestion.to_dict(job.job_id) for suggestion in suggestions],
    }


def _row(sight: Sight) -> list[str]:
    job, state = sight.job, sight.job.state
    return [
        job.job_id,
        job.spec.name,
        job.status,
        state.activity or "",
        f"{state.step}/{state.total_steps}" if state.total_steps else "",
        loss(state.loss),
        loss(state.eval_loss),
        date_and_clock(job.created_at),
    ]
