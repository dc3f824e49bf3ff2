"""Keeps the web application's tables up to date with the store, in the background.

Looks for jobs of which Supabase lacks something, and sends it; while nobody answers it waits, ever
longer, and nothing is lost, since what is to be sent is read from the store. Never on a job's way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.clean_text import clean_line
from shared.errors import (
    InvalidInput,
    SchemaMismatch,
    SupabaseError,
    SupabaseRefused,
    SupabaseUnauthorized,
    SupabaseUnreachable,
)
from shared.events import utc_now
from shared.store.mirror_progress import MirrorFailure
from tui.services.background import Say
from tui.services.controller.settings import growing_pause_s
from tui.services.session import Session
from tui.services.supabase.connection import connected
from tui.services.supabase.sender import Sender
from tui.services.supabase.settings import SupabaseSettings, load_settings

logger = logging.getLogger(__name__)

_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class MirrorPace:
    """Seconds."""

    tick_s: float = 2.0
    """Between two looks for what is new."""
    artifacts_s: float = 10.0
    refresh_s: float = 60.0
    """Between two pictures of a job whose machine is paid for: its cost grows by itself."""
    first_pause_s: float = 1.0
    longest_pause_s: float = 300.0
    refused_pause_s: float = 60.0
    """Before what was refused is tried again; grows to an hour."""
    longest_refused_pause_s: float = 3600.0
    longest_retry_after_s: float = 3600.0


class MirrorWorker:
    """One process's; another one at the same time sends the same rows, and does no harm."""

    def __init__(
        self,
        session: Session,
        settings: SupabaseSettings,
        say: Say,
        *,
        pace: MirrorPace | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._settings = settings
        self._say = say
        self._pace = pace or MirrorPace()
        self._sleep = sleep
        self._clock = clock
        self._failures = 0
        self._at: str | None = None
        """The job that is being sent."""
        self._told = ""
        self._noted: tuple[str | None, str] = (None, "")
        self._refused: dict[str, tuple[int, float]] = {}
        """Job -> how often it was refused, and when it is tried again."""
        self._pending: set[str] = set()
        """Jobs of which something has changed that they do not say themselves."""
        self._marks: dict[str, int] = {}
        self._marks_due = 0.0
        self._refresh_due = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                while not await self._work():  # Nothing heavy is imported before it is needed.
                    await self._sleep(self._pace.tick_s)
                path = self._session.config.supabase_session_path
                async with connected(self._settings, path) as supabase:
                    sender = Sender(self._session.store, supabase, self._settings.target)
                    await self._keep_sending(sender)
            except SupabaseUnreachable as error:
                await self._wait_out(error)
            except (SupabaseUnauthorized, SchemaMismatch) as error:
                await self._wait_for_somebody(error)

    async def _keep_sending(self, sender: Sender) -> None:
        """For as long as nobody has to mend anything."""
        while True:
            try:
                if await self.send_all(sender):
                    await self._sleep(self._pace.tick_s)
            except SupabaseUnreachable as error:
                await self._wait_out(error)

    async def send_all(self, sender: Sender) -> bool:
        """Everything that is to be sent now; False where more is left of some job.

        Raises:
            SupabaseError: nothing can be sent at all.
        """
        is_done = True
        for job_id in await self._work():
            self._at = job_id
            try:
                is_done &= await sender.send(job_id)
                self._went_well(job_id)
            except SupabaseRefused as error:
                await self._set_aside(job_id, error)
        self._at = None
        self._all_is_well()
        return is_done

    async def _work(self) -> list[str]:
        """Jobs that are to be sent now."""
        progress = self._session.store.mirror_progress
        now_s = self._clock()
        if now_s >= self._marks_due:
            self._marks_due = now_s + self._pace.artifacts_s
            before, self._marks = self._marks, await progress.artifact_marks()
            for job_id in before.keys() | self._marks.keys():
                if before.get(job_id) != self._marks.get(job_id):
                    self._pending.add(job_id)
        if now_s >= self._refresh_due:
            self._refresh_due = now_s + self._pace.refresh_s
            rented = await self._session.store.rentals.open_ones()
            self._pending.update(stored.job_id for stored in rented)
        wanted = dict.fromkeys(await progress.lagging(self._settings.target))
        wanted |= dict.fromkeys(sorted(self._pending))
        due = [job_id for job_id in wanted if self._is_due(job_id, now_s)]
        # Whatever is wrong with one, the others come before it.
        return sorted(due, key=lambda job_id: job_id == self._noted[0])

    def _is_due(self, job_id: str, now_s: float) -> bool:
        return now_s >= self._refused.get(job_id, (0, now_s))[1]

    def _went_well(self, job_id: str) -> None:
        if job_id == self._noted[0]:  # That another one can be sent says nothing of this one.
            self._all_is_well()
        self._refused.pop(job_id, None)
        self._pending.discard(job_id)

    def _all_is_well(self) -> None:
        self._failures = 0
        self._told = ""
        self._noted = (None, "")

    async def _set_aside(self, job_id: str, error: SupabaseRefused) -> None:
        """This job waits; the others go on."""
        times = self._refused.get(job_id, (0, 0.0))[0]
        pause_s = growing_pause_s(
            self._pace.refused_pause_s, times, self._pace.longest_refused_pause_s
        )
        self._refused[job_id] = (times + 1, self._clock() + pause_s)
        await self._note(job_id, MirrorFailure.REFUSED, error)
        if times == 0:
            self._say(f"{job_id} is not mirrored to Supabase: {error}")

    async def _wait_out(self, error: SupabaseUnreachable) -> None:
        """Ever longer, or as long as it asks for."""
        pause_s = growing_pause_s(
            self._pace.first_pause_s, self._failures, self._pace.longest_pause_s
        )
        asked_s = min(error.retry_after_s or 0.0, self._pace.longest_retry_after_s)
        self._failures += 1
        await self._note(await self._job_in_hand(), MirrorFailure.UNREACHABLE, error)
        self._tell(f"the mirror waits: {error} Nothing is lost.")
        await self._sleep(max(pause_s, asked_s))

    async def _wait_for_somebody(self, error: SupabaseError) -> None:
        """Somebody has to mend it; a new login is noticed at once."""
        is_login = isinstance(error, SupabaseUnauthorized)
        failure = MirrorFailure.UNAUTHORIZED if is_login else MirrorFailure.MISMATCH
        await self._note(await self._job_in_hand(), failure, error)
        self._tell(f"the mirror waits: {error}")
        self._failures += 1
        pause_s = growing_pause_s(
            self._pace.refused_pause_s, self._failures, self._pace.longest_pause_s
        )
        until_s = self._clock() + pause_s
        before = self._login_mark()
        while self._clock() < until_s and self._login_mark() == before:
            await self._sleep(self._pace.tick_s)

    def _tell(self, words: str) -> None:
        if words != self._told:
            self._told = words
            self._say(words)

    async def _job_in_hand(self) -> str | None:
        """The one that failed, or the next one that would have."""
        if self._at is not None:
            return self._at
        lagging = await self._session.store.mirror_progress.lagging(self._settings.target)
        return lagging[0] if lagging else None

    async def _note(self, job_id: str | None, failure: MirrorFailure, error: Exception) -> None:
        """Write down why; once, however often it is tried."""
        if job_id is None or self._noted == (job_id, str(error)):
            return
        self._noted = (job_id, str(error))
        words = clean_line(str(error))[:_LONGEST_REASON]
        progress = self._session.store.mirror_progress
        await progress.note_failure(job_id, self._settings.target, failure, words, utc_now())

    def _login_mark(self) -> int:
        try:
            return os.stat(self._session.config.supabase_session_path).st_mtime_ns
        except OSError:
            return 0


def is_wanted(session: Session) -> bool:
    """True where a project is named.

    Raises:
        InvalidInput: what is set does not hold together.
    """
    return load_settings() is not None


async def run(session: Session, say: Say) -> None:
    """Until cancelled."""
    settings = load_settings()
    if settings is None:
        return
    try:
        await MirrorWorker(session, settings, say).run()
    except InvalidInput as error:  # A package is missing: nothing to try again.
        say(str(error))
