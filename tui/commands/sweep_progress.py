"""Follows the jobs of a sweep to their ends: a table that is redrawn, or a line for each change.

Meanwhile this process starts the jobs that wait, or controls the machines of those that are rented.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shared.clean_text import clean_line
from shared.events import utc_now
from shared.lifecycle import Activity
from shared.number_text import loss, many, usd
from shared.store.stored import StoredJob
from shared.sweep import Sweep, difference_text, differing_settings
from tui import exit_codes
from tui.commands.output import say
from tui.commands.rental_progress import say_who_acts
from tui.services.feed import JobFeed
from tui.services.session import Session
from tui.views.job_row import STATUS_STYLES, status_words

_POLL_S = 0.5
_WORST_FIRST = (exit_codes.JOB_FAILED, exit_codes.CANCELLED)


async def follow_sweep(session: Session, sweep: Sweep, *, as_json: bool) -> int:
    """Until all its jobs have ended; the exit code is that of the worst end."""
    view = _Plain() if as_json or not sys.stdout.isatty() else _Redrawn()
    try:
        with view:
            async with _at_work(session, sweep):
                while True:
                    jobs = await session.store.sweeps.jobs(sweep.sweep_id)
                    view.show(jobs, await _spent_words(session, sweep))
                    if all(job.status.is_final for job in jobs):
                        break
                    await asyncio.sleep(_POLL_S)
    except asyncio.CancelledError:
        await say_who_starts(session, sweep)
        raise
    say(f"{sweep.sweep_id}: all jobs have ended; `brightrun sweep show {sweep.sweep_id}`.")
    codes = {exit_codes.of_status(job.status) for job in jobs}
    return next((code for code in _WORST_FIRST if code in codes), exit_codes.OK)


async def say_who_starts(session: Session, sweep: Sweep) -> None:
    """Who goes on with the jobs when this command does not."""
    jobs = await session.store.sweeps.jobs(sweep.sweep_id)
    waiting = sum(job.state.activity is Activity.WAITING_FOR_TURN for job in jobs)
    running = sum(not job.status.is_final for job in jobs) - waiting
    words = f"{sweep.sweep_id}: {many(running, 'job')} under way, {waiting} waiting."
    if any(job.state.rented for job in jobs):
        await say_who_acts(session.store, words)
    else:
        say(f"{words} Those that wait start while a console or `brightrun serve` is open.")
    say(f"`brightrun sweep show {sweep.sweep_id}` compares them.")


@asynccontextmanager
async def _at_work(session: Session, sweep: Sweep) -> AsyncIterator[None]:
    """While inside, this process does what a console would for these jobs."""
    from tui.services.controller.controller import controlling
    from tui.services.host_queue import giving_turns

    told = _once()
    feed = asyncio.create_task(JobFeed(session, lambda news: None, on_trouble=told).run())
    try:
        if sweep.budget_usd is None:
            async with giving_turns(session, on_news=told):
                yield
        else:
            async with controlling(session, kind="command", on_news=told):
                yield
    finally:
        feed.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feed


def _once() -> Callable[[str], None]:
    """Says what it is told, but nothing twice in a row."""
    last = ""

    def tell(text: str) -> None:
        nonlocal last
        if text and text != last:
            say(text)
        last = text

    return tell


async def _spent_words(session: Session, sweep: Sweep) -> str:
    if sweep.budget_usd is None:
        return ""
    money = await session.store.sweeps.money(sweep.sweep_id, utc_now())
    spent = sum(job.spent_usd for job in money.values())
    return f"{usd(spent)} of {usd(sweep.budget_usd)} spent"


class _Plain:
    """A line on stderr for each change, for pipes and logs."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, jobs: Sequence[StoredJob], spent: str) -> None:
        for job in jobs:
            words = job.status.value if job.status.is_final else _doing(job) or job.status.value
            if self._told.get(job.job_id) != words:
                self._told[job.job_id] = words
                why = f": {job.error_message}" if job.error_message else ""
                say(f"{job.job_id} {words}{why}")


class _Redrawn:
    """One table, drawn again in its place."""

    def __init__(self) -> None:
        self._live = Live(console=Console(highlight=False), auto_refresh=False)

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, jobs: Sequence[StoredJob], spent: str) -> None:
        self._live.update(progress_table(jobs, spent), refresh=True)


def progress_table(jobs: Sequence[StoredJob], spent: str) -> Table:
    """All jobs, and how far each has come."""
    names = differing_settings([job.spec for job in jobs])
    caption = Text(spent) if spent else None
    table = Table(box=None, pad_edge=False, header_style="bold", caption=caption)
    for header in ("JOB", "VARIES", "STATUS", "ACTIVITY", "STEP", "LOSS", "HELD OUT"):
        table.add_column(header, no_wrap=True)
    for job in jobs:
        state = job.state
        step = f"{state.step}/{state.total_steps}" if state.total_steps else ""
        words = (
            job.job_id,
            clean_line(difference_text(job.spec, names)),
            status_words(job.status),
            clean_line(_doing(job)),
            step,
            loss(state.loss),
            loss(state.eval_loss),
        )
        table.add_row(*(Text(word) for word in words), style=STATUS_STYLES.get(job.status, ""))
    return table


def _doing(job: StoredJob) -> str:
    return "" if job.status.is_final or job.state.activity is None else job.state.activity.value
