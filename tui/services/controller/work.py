"""One rented job in the hands of the controller: what it knows, and how it moves on.

Every move is written down before anything is done because of it. What a phase does stands in the
modules beside; nothing here asks a provider or a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from shared.clean_text import clean_line
from shared.events import utc_now
from shared.lifecycle import StopReason
from shared.machine_request import Candidate, MachineRequest
from shared.rental import PHASES, Machine, MachineState, Rental, RentalPhase, Wish
from shared.store.rentals import StoredRental
from shared.store.stored import StoredJob
from tui.services.controller.follower import Follower
from tui.services.controller.leadership import Leadership
from tui.services.controller.settings import ControllerSettings, growing_pause_s
from tui.services.controller.sightings import Lookout, Sightings
from tui.services.hosts.rented import RentedHost
from tui.services.model_cache.known import note_from_job
from tui.services.providers.provider import Provider, RentedMachine
from tui.services.session import Session

ResultT = TypeVar("ResultT")

_LONGEST_REASON = 500


class Overtaken(Exception):
    """A wish, a deadline or a lost machine comes before what is under way."""


@dataclass(slots=True)
class Office:
    """What all jobs of one controller share."""

    session: Session
    provider: Provider
    settings: ControllerSettings
    lookout: Lookout
    leadership: Leadership
    mark: str
    kind: str
    tell: Callable[[str], None]


class Work:
    """The job as of the last look into the ledger; `reload` looks again."""

    def __init__(self, office: Office, stored: StoredRental, job: StoredJob) -> None:
        self.office = office
        self.stored = stored
        self.job = job
        self.follower = Follower(office.session, job.job_id, office.settings)
        self.unreachable_since: float | None = None
        """On the monotonic clock: since when a machine that was reached is not any more."""
        self._unanswered = 0
        self._ask_at = 0.0

    @property
    def job_id(self) -> str:
        return self.job.job_id

    @property
    def rental(self) -> Rental:
        return self.stored.rental

    @property
    def request(self) -> MachineRequest:
        return self.stored.request

    @property
    def host(self) -> RentedHost:
        return self.office.session.hosts.rented(self.job_id)

    @property
    def sightings(self) -> Sightings:
        return self.office.lookout.latest

    @property
    def wants_cancel(self) -> bool:
        return self.stored.wish is Wish.CANCEL

    @property
    def candidate(self) -> Candidate | None:
        """The next to be tried; None once all were."""
        number = self.rental.next_candidate
        return self.request.candidates[number] if number < len(self.request.candidates) else None

    @property
    def deadline(self) -> datetime | None:
        """Of the phase; None where it has none of its own."""
        seconds = PHASES[self.rental.phase].deadline_s
        if seconds is None:
            return None
        return self.rental.since + timedelta(seconds=seconds * self.office.settings.deadline_factor)

    @property
    def is_late(self) -> bool:
        return self.deadline is not None and utc_now() > self.deadline

    @property
    def may_ask(self) -> bool:
        """False while what the provider was asked last is not to be asked again."""
        return time.monotonic() >= self._ask_at

    def put_off(self, retry_after_s: float | None) -> None:
        """Ask the provider for a machine later, each time later than before."""
        settings = self.office.settings
        self._unanswered += 1
        pause_s = growing_pause_s(settings.tick_s, self._unanswered, settings.provider_pause_s)
        self.rest(max(pause_s, retry_after_s or 0.0))

    def rest(self, seconds: float) -> None:
        """Ask the provider for nothing for so long."""
        self._ask_at = time.monotonic() + seconds

    def was_answered(self) -> None:
        """The next time is not put off."""
        self._unanswered, self._ask_at = 0, 0.0

    async def reload(self) -> None:
        """Look into the ledger."""
        store = self.office.session.store
        stored = await store.rentals.get(self.job_id)
        assert stored is not None, "a rental is never removed"
        self.stored = stored
        self.job = await store.get_job(self.job_id)

    async def machine(self) -> Machine | None:
        """The machine that serves the job now, as the ledger has it."""
        name = self.rental.machine
        return None if name is None else await self.office.session.store.rentals.machine(name)

    async def machines(self) -> list[Machine]:
        """All machines that the job ever had."""
        return await self.office.session.store.rentals.machines(self.job_id)

    async def save(self, machine: Machine) -> Machine:
        return await self.office.session.store.rentals.save_machine(machine)

    async def note(self, message: str, level: str = "info") -> None:
        """Add to the job's ledger, and say it aloud."""
        message = clean_line(message)[:_LONGEST_REASON]
        await self.office.session.store.rentals.note(self.job_id, utc_now(), message, level)
        self.office.tell(f"{self.job_id}: {message}")

    async def enter(
        self,
        phase: RentalPhase,
        reason: str = "",
        *,
        beside_at_most: int | None = None,
        **changes: Any,
    ) -> None:
        """Go on to a phase. Whoever has gone on meanwhile wins: RentalConflict.

        So it is with `beside_at_most` where more other jobs than that are at work by then.
        """
        reason = clean_line(reason)[:_LONGEST_REASON]
        self.unreachable_since = None
        now = utc_now()
        phase_s = self.rental.left_at(now)
        moved = {"phase": phase, "since": now, "reason": reason, "phase_s": phase_s, **changes}
        await self._replace(moved, beside_at_most)
        await self.note(f"{phase.value}: {reason}" if reason else phase.value)
        activity = PHASES[phase].activity
        if activity is not None:
            store = self.office.session.store
            self.job = await store.note_activity(self.job_id, activity, reason)

    async def stay(self, reason: str = "", **changes: Any) -> None:
        """Stay in the phase, and say why; what is as it was is not written."""
        reason = clean_line(reason)[:_LONGEST_REASON]
        wanted = {"reason": reason, **changes}
        if all(getattr(self.rental, name) == value for name, value in wanted.items()):
            return
        await self._replace(wanted)
        activity = PHASES[self.rental.phase].activity
        if activity is not None:
            store = self.office.session.store
            self.job = await store.note_activity(self.job_id, activity, reason)

    async def end_machine(self, reason: str, then: RentalPhase, **changes: Any) -> None:
        """Have the machine ended before anything else, and go on with `then`."""
        machine = await self.machine()
        if machine is not None and machine.state in (MachineState.RENTED, MachineState.INTENDED):
            ending = replace(
                machine, state=MachineState.ENDING, ending_at=utc_now(), end_reason=reason
            )
            await self.save(ending)
            await note_from_job(self.office.session.store, self.job, self.request)
        await self.enter(RentalPhase.ENDING, reason, then=then, question="", **changes)

    async def close_with(self, outcome: StopReason, detail: str) -> None:
        """End the job in this way, once its machine is gone."""
        detail = clean_line(detail)[:_LONGEST_REASON]
        await self.end_machine(
            detail or outcome.value, RentalPhase.DONE, outcome=outcome, outcome_detail=detail
        )

    async def next_candidate(self, why: str) -> None:
        """Give the machine back, if there is one, and try the next candidate."""
        candidate = self.candidate
        failure = f"{candidate.label if candidate else 'machine'}: {clean_line(why)}"
        await self.note(failure, "warning")
        await self.end_machine(
            why,
            RentalPhase.PROVISIONING,
            failures=(*self.rental.failures, failure[:_LONGEST_REASON]),
            next_candidate=self.rental.next_candidate + 1,
        )

    async def guarded(self, doing: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Do something that takes long, but not beyond a wish, a deadline or the machine's loss.

        Raises:
            Overtaken: it was given up; the ledger says what is next.
        """
        task = asyncio.create_task(doing)
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=self.office.settings.guard_poll_s)
                if done:
                    return task.result()
                await self.reload()
                if self.wants_cancel or self.is_late or await self._is_lost():
                    raise Overtaken
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def seen(self) -> RentedMachine | None:
        """The machine in the latest look; None where it is missing, or nobody knows."""
        machine = await self.machine()
        return None if machine is None else self.sightings.of(machine)

    async def count_misses(self, seen: RentedMachine | None) -> int:
        """In how many looks in a row the provider's list has lacked the machine, this one too."""
        if seen is not None:
            if self.rental.missing_in:
                await self.stay(self.rental.reason, missing_in=())
            return 0
        if self.sightings.is_known:
            looks = (*self.rental.missing_in, self.sightings.number)
            await self.stay(self.rental.reason, missing_in=tuple(dict.fromkeys(looks))[-2:])
        return len(self.rental.missing_in)

    async def _is_lost(self) -> bool:
        seen = await self.seen()
        return seen is not None and not seen.status.is_up

    async def _replace(self, changes: dict[str, Any], beside_at_most: int | None = None) -> None:
        rental = self.rental.model_copy(update=changes)
        rentals = self.office.session.store.rentals
        self.stored = await rentals.replace(self.stored, rental, beside_at_most=beside_at_most)


Phase = Callable[[Work], Awaitable[None]]
"""One idempotent step of one phase; the ledger is fresh when it begins."""
