"""`brightrun watch`: follows one job to its end. A watcher can never stop or slow a trainer."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from shared.events import utc_now
from shared.store.cursor import BEGINNING, Cursor
from shared.store.store import Store
from shared.store.stored import Applied
from tui import exit_codes
from tui.commands.output import say, say_line
from tui.commands.terminal_session import open_terminal_session
from tui.commands.watch_views import JsonView, LiveView, PlainView, WatchView
from tui.services.session import Session
from tui.services.spending.job_money import job_money
from tui.services.suggestions import suggestions_for
from tui.views.money_lines import money_words
from tui.views.suggestion_lines import suggestion_lines

_MONEY_POLL_S = 5.0
LEFT_RUNNING = "stopped watching; the job goes on. `brightrun watch JOB` looks again."


async def watch_job(job_id: str, *, as_json: bool) -> int:
    """Watch until the job's status is final; the exit code says how it ended."""
    async with open_terminal_session() as session:
        job = await session.store.get_job(job_id)
        return await watch_in(session, job.job_id, as_json=as_json)


async def watch_in(session: Session, job_id: str, *, as_json: bool) -> int:
    """`watch_job`, in a session that is open already."""
    job = await session.store.get_job(job_id)
    events = await session.store.events(job_id)
    seen = Cursor(events[-1].attempt, events[-1].seq) if events else BEGINNING
    view = _view(as_json=as_json)
    with view:
        view.begin(job, await session.store.metrics(job_id), events)
        counting = asyncio.create_task(_follow_money(session.store, job_id, view))
        try:
            async with aclosing(session.mirror.watch(job_id, seen)) as sights:
                async for sight in sights:
                    if isinstance(sight, Applied):
                        view.applied(sight)
                    else:
                        view.unreachable(sight)
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
    job = await session.store.get_job(job_id)
    outcome = f"{job.job_id} {job.status}"
    say(f"{outcome}: {job.error_message}" if job.error_message else f"{outcome}.")
    if job.state.advice:
        say(job.state.advice)
    for line in suggestion_lines(await suggestions_for(session.store, job), job.job_id):
        say_line(line, as_json=True)
    return exit_codes.of_status(job.status)


async def _follow_money(store: Store, job_id: str, view: WatchView) -> None:
    """Show what a rented job costs, until cancelled; at once over for one that costs nothing."""
    while (stored := await store.rentals.get(job_id)) is not None:
        view.money(money_words(await job_money(store, stored, utc_now())))
        await asyncio.sleep(_MONEY_POLL_S)


def _view(*, as_json: bool) -> WatchView:
    if as_json:
        return JsonView()
    return LiveView() if sys.stdout.isatty() else PlainView()
