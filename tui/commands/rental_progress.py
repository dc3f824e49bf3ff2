"""Prints what is done for a rented job, line by line, until it runs on its machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.clean_text import clean_line
from shared.events import utc_now
from shared.number_text import clock
from shared.rental import RentalPhase
from shared.store.store import Store
from tui.commands.output import say
from tui.services.rental_watch import RentalSight, RentalWatch
from tui.views.rental_answers import how_to_answer
from tui.views.rental_lines import leader_words

if TYPE_CHECKING:
    from tui.services.controller.controller import Controller

_POLL_S = 0.5


class _Progress:
    """What was said so far."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._question = ""
        self._trouble = ""
        self._leader = ""
        self.latest: RentalSight | None = None
        self.is_enough = asyncio.Event()

    def saw(self, sight: RentalSight) -> None:
        """Say what is new about our job."""
        if sight.job_id != self._job_id:
            return
        self.latest = sight
        for entry in sight.fresh:
            say(f"{clock(entry.time)}  {entry.message}")
        self._ask(sight)
        if sight.rental.phase in (RentalPhase.RUNNING, RentalPhase.DONE):
            self.is_enough.set()

    def looked_at(self, controller: Controller) -> None:
        """Say who controls it where that is somebody else, and what keeps us from it."""
        if controller.trouble and controller.trouble != self._trouble:
            say(controller.trouble)
        self._trouble = controller.trouble
        lease = controller.lease
        if lease is not None and not controller.leads and lease.label != self._leader:
            self._leader = lease.label
            say(f"controlled by {lease.label}; this command only watches.")

    def _ask(self, sight: RentalSight) -> None:
        question = clean_line(sight.rental.question)
        if question and question != self._question:
            say(f"{question} {how_to_answer(sight)}")
        self._question = question


async def follow_to_running(store: Store, job_id: str, controller: Controller) -> RentalSight:
    """Until the job runs, or is over; says who controls it where that is somebody else."""
    progress = _Progress(job_id)
    watch = RentalWatch(store, progress.saw, poll_s=_POLL_S)
    following = asyncio.create_task(watch.run(lambda: progress.looked_at(controller)))
    try:
        await progress.is_enough.wait()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert progress.latest is not None
    return progress.latest


async def say_who_acts(store: Store, before: str = "") -> None:
    """Who goes on with rented jobs, and what to start where nobody does."""
    say(f"{before} {leader_words(await store.rentals.lease(), utc_now())}".lstrip())
