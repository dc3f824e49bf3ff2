"""Owns every rented job that is not final: compares what is wanted with what is, and takes a step.

One controller of a store acts, wherever it runs; the others watch. Every step can be cut off at any
moment and done again by another controller, which finds in the ledger what was meant.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from shared.errors import BrightRunError, StoreError
from shared.rental import Lease, RentalPhase
from shared.store.rentals import RentalConflict, StoredRental
from tui.services.controller import closing, moving, preparing, provisioning, training, waiting
from tui.services.controller.bookkeeping import BillWatch, Bookkeeper
from tui.services.controller.leadership import Leadership
from tui.services.controller.settings import ControllerSettings, growing_pause_s
from tui.services.controller.sightings import Lookout
from tui.services.controller.spending_watch import SpendingWatch
from tui.services.controller.strays import Strays
from tui.services.controller.work import Office, Phase, Work
from tui.services.providers.provider import Provider
from tui.services.session import Session

logger = logging.getLogger(__name__)

Kind = Literal["console", "serve", "command"]

_STEPS: dict[RentalPhase, Phase] = {
    RentalPhase.QUEUED: waiting.queue,
    RentalPhase.PROVISIONING: provisioning.provision,
    RentalPhase.WAITING: waiting.wait,
    RentalPhase.MOVING: moving.move,
    RentalPhase.CONNECTING: preparing.connect,
    RentalPhase.CHECKING: preparing.check,
    RentalPhase.INSTALLING: preparing.install,
    RentalPhase.STARTING: preparing.begin,
    RentalPhase.RUNNING: training.train,
    RentalPhase.SECURING: closing.secure,
    RentalPhase.ENDING: closing.end,
    RentalPhase.ASKING: training.ask,
}

_LONGEST_PAUSE_S = 60.0
_AFTER_DEFECT_S = 30.0
_MONTH_TICKS = 6
_BOOKS_TICKS = 12
"""Looks at the jobs for one at the month's money, and at what bills are due."""


class Controller:
    """Made with a provider, or without one: then it only watches, and says why."""

    def __init__(
        self,
        session: Session,
        *,
        kind: Kind,
        settings: ControllerSettings | None = None,
        on_news: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._session = session
        self._kind = kind
        self._settings = settings or ControllerSettings()
        self._tell = on_news
        self._leadership = Leadership(session.store.rentals, kind, self._settings.lease_s)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._has_scanned = False
        self._bills = BillWatch(session.store)
        self.trouble = ""
        """Why nothing can be done now, such as a missing key; "" if all is well."""

    @property
    def leads(self) -> bool:
        """True while this controller acts."""
        return self._leadership.leads

    @property
    def lease(self) -> Lease | None:
        """Of whoever acts; None before the first look."""
        return self._leadership.lease

    async def run(self) -> None:
        """Until cancelled; a step that is under way is left where the next one finds it."""
        try:
            while True:
                pause_s = self._settings.tick_s
                try:
                    if await self._has_work() and await self._leadership.renew():
                        await self._lead()
                except Exception as error:
                    # A defect must not leave machines that are paid for to themselves.
                    logger.exception("the controller of rented jobs stopped")
                    self._say_trouble(f"it stopped: {error!r}; it is started again")
                    pause_s = _AFTER_DEFECT_S
                await asyncio.sleep(pause_s)
        finally:
            await self._leadership.give_up()

    async def _has_work(self) -> bool:
        """Without a rented job nobody needs a key, a lease or the network.

        Where machines were ever rented, the first look is for those that were left behind; later
        it is for their bills.
        """
        rentals = self._session.store.rentals
        try:
            if await rentals.open_ones():
                return True
            if not self._has_scanned and await rentals.machines():
                return True
            return await self._bills.is_due()
        except StoreError as error:
            self._say_trouble(str(error))
            return False

    async def _lead(self) -> None:
        """Drive all jobs for as long as the lease holds and there are any."""
        try:
            provider = self._session.provider()
        except BrightRunError as error:
            self._say_trouble(str(error))
            return
        self._say_trouble("")
        office = await self._office(provider)
        looking = asyncio.create_task(office.lookout.run())
        store, tick_s = self._session.store, self._settings.tick_s
        bookkeeper = Bookkeeper(store, provider, _BOOKS_TICKS * tick_s)
        spending = SpendingWatch(store, self._tell, _MONTH_TICKS * tick_s)
        keeping = asyncio.create_task(bookkeeper.run())
        strays = Strays(office)
        try:
            while await self._leadership.renew():
                self._reap(looking, keeping)
                await strays.look(office.lookout.latest)
                open_ones = await self._session.store.rentals.open_ones()
                await self._look_at_money(spending, open_ones)
                for stored in open_ones:
                    if stored.job_id not in self._tasks:
                        driving = self._drive(office, stored)
                        self._tasks[stored.job_id] = asyncio.create_task(driving)
                self._has_scanned = self._has_scanned or office.lookout.latest.number > 0
                is_idle = not open_ones and not self._tasks
                if is_idle and self._has_scanned and bookkeeper.has_looked:
                    return
                await asyncio.sleep(min(self._settings.tick_s, self._settings.lease_s / 6))
        except StoreError as error:
            self._say_trouble(str(error))
        finally:
            await _cancelled([looking, keeping, *self._tasks.values()])
            self._tasks.clear()

    async def _look_at_money(self, spending: SpendingWatch, open_ones: list[StoredRental]) -> None:
        try:
            await spending.look(open_ones)
        except StoreError:
            raise
        except Exception as error:
            # A defect: what is told of money must not keep machines from being ended.
            logger.exception("money of rented jobs")
            self._say_trouble(f"money is not watched: unexpected {error!r}; it is tried again")

    async def _office(self, provider: Provider) -> Office:
        return Office(
            session=self._session,
            provider=provider,
            settings=self._settings,
            lookout=Lookout(provider, self._settings),
            leadership=self._leadership,
            mark=await self._session.store.rentals.mark(),
            kind=self._kind,
            tell=self._tell,
        )

    def _reap(self, *lasting: asyncio.Task[None]) -> None:
        """Forget what is done; an error that nobody expected is not swallowed."""
        for task in lasting:
            if task.done():
                task.result()
        for job_id, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[job_id]
                task.result()

    async def _drive(self, office: Office, stored: StoredRental) -> None:
        """The outermost loop of one job."""
        work = Work(office, stored, await self._session.store.get_job(stored.job_id))
        phase, failures = work.rental.phase, 0
        try:
            while self.leads:
                try:
                    await work.reload()
                    phase = work.rental.phase
                    if phase is RentalPhase.DONE:
                        return
                    await _STEPS[phase](work)
                    failures = 0
                    moved = work.rental.phase is not phase
                except RentalConflict:
                    moved = True
                except BrightRunError as error:
                    failures += 1
                    moved = False
                    logger.warning("job %s: %s", work.job_id, error)
                    self._say_trouble(f"{work.job_id}: {error}")
                except Exception as error:
                    # A defect: it must not keep the machines of other jobs from being ended.
                    failures += 1
                    moved = False
                    logger.exception("job %s, phase %s", work.job_id, phase)
                    self._say_trouble(f"{work.job_id}: unexpected {error!r}; it is tried again")
                if not moved:
                    tick_s = self._settings.tick_s
                    await asyncio.sleep(growing_pause_s(tick_s, failures, _LONGEST_PAUSE_S))
        finally:
            await work.follower.stop()

    def _say_trouble(self, text: str) -> None:
        if text and text != self.trouble:
            self._tell(text)
        self.trouble = text


@asynccontextmanager
async def controlling(
    session: Session,
    *,
    kind: Kind,
    settings: ControllerSettings | None = None,
    on_news: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[Controller]:
    """While inside, this process drives the rented jobs, unless another does."""
    controller = Controller(session, kind=kind, settings=settings, on_news=on_news)
    running = asyncio.create_task(controller.run())
    try:
        yield controller
    finally:
        await _cancelled([running])


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
