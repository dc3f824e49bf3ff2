"""Tells people outside of what has happened: one of the workers of `tui.services.background`.

Each event is written down once, whoever finds it, before anybody is told; it is sent until every
receiver has it, so a process killed in between tells it twice rather than never. Nothing is told of
what was over when the first receiver was named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.events import utc_now
from shared.number_text import many
from shared.store.notifications import NotificationState, StoredNotification, after_try
from shared.store.store import Store
from tui.services.controller.settings import growing_pause_s
from tui.services.notify.choices import load_choices
from tui.services.notify.lookout import Lookout
from tui.services.notify.receivers import Receiver, receivers
from tui.services.notify.sending import require_apprise, send
from tui.services.session import Session

CURSOR = "notify_looked_at"
"""Of the store's settings: up to when everything is written down; "" before the first look."""
KEPT_FOR = timedelta(days=90)
MOST_TRIES = 400
"""About a day; a receiver that takes nothing for so long hears of newer things only."""
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Seconds."""

    poll_s: float = 3.0
    first_pause_s: float = 5.0
    longest_pause_s: float = 300.0
    timeout_s: float = 60.0


def is_wanted(session: Session) -> bool:
    """Whether anybody outside is to be told.

    Raises:
        InvalidInput: the receivers cannot be read, or the extra is not installed.
    """
    if not receivers(session.config.home):
        return False
    require_apprise()
    return True


async def run(
    session: Session,
    say: Callable[[str], None],
    *,
    settings: WorkerSettings | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> None:
    """Until cancelled.

    Raises:
        StoreError: the store cannot be used.
    """
    settings = settings or WorkerSettings()
    messenger = Messenger(session, say, settings, clock)
    while True:
        await messenger.look()
        await messenger.deliver()
        await asyncio.sleep(settings.poll_s)


class Messenger:
    """Finds what is new, writes it down, and sends what is due."""

    def __init__(
        self,
        session: Session,
        say: Callable[[str], None],
        settings: WorkerSettings,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._session = session
        self._store: Store = session.store
        self._say = say
        self._settings = settings
        self._clock = clock
        self._lookout: Lookout | None = None

    async def look(self) -> None:
        """Write down what has happened since the last look of any process."""
        begin = self._clock()
        is_first_ever = False
        if self._lookout is None:
            cursor = await self._store.settings.get(CURSOR, "")
            is_first_ever = not cursor
            after = datetime.fromisoformat(cursor) if cursor else begin
            self._lookout = Lookout(self._store, after)
            # Never one that this first look may find again: it would be told twice.
            await self._store.notifications.forget_before(min(begin - KEPT_FOR, after - KEPT_FOR))
        found = await self._lookout.look()
        if not found and not is_first_ever:
            return
        choices = await load_choices(self._store.settings)
        await self._store.notifications.add(found, () if is_first_ever else choices.kinds)
        await self._store.settings.put(CURSOR, begin.isoformat())

    async def deliver(self) -> None:
        """Send what is due; what is not urgent waits for the end of quiet hours."""
        now = self._clock()
        due = await self._store.notifications.due(now)
        if not due:
            return
        quiet = (await load_choices(self._store.settings)).quiet_hours
        if quiet is not None and quiet.holds(now):
            due = [one for one in due if one.notification.is_urgent]
        to = receivers(self._session.config.home)
        urgent = [one for one in due if one.notification.is_urgent]
        others = [one for one in due if not one.notification.is_urgent]
        for batch in (*([one] for one in urgent), others):
            if batch:
                await self._send(batch, to)

    async def _send(self, batch: Sequence[StoredNotification], to: Sequence[Receiver]) -> None:
        """One message; each receiver gets what it has not got yet."""
        reached = {one.notification.id: set(one.sent_to) for one in batch}
        answers = await asyncio.gather(*(self._send_to(each, batch) for each in to))
        errors = []
        for receiver, error in zip(to, answers, strict=True):
            if error:
                errors.append(f"{receiver.shown}: {error}")
            else:
                for marks in reached.values():
                    marks.add(receiver.mark)
        for one in batch:
            error = "; ".join(errors) if to else "there is no receiver any more"
            await self._store.notifications.save(
                self._after(one, reached[one.notification.id], error)
            )

    async def _send_to(self, receiver: Receiver, batch: Sequence[StoredNotification]) -> str:
        news = [one for one in batch if receiver.mark not in one.sent_to]
        if not news:
            return ""
        title, body = message_of(news)
        return await send(receiver, title, body, timeout_s=self._settings.timeout_s)

    def _after(self, one: StoredNotification, reached: set[str], error: str) -> StoredNotification:
        now = self._clock()
        settings = self._settings
        pause_s = growing_pause_s(settings.first_pause_s, one.tries, settings.longest_pause_s)
        tried = after_try(one, reached, error, now + timedelta(seconds=pause_s))
        if not error:
            return tried
        if one.tries == 0:
            self._say(f"{one.notification.title}: not everybody could be told: {error}")
        if tried.tries >= MOST_TRIES:
            return replace(tried, state=NotificationState.FAILED, next_try_at=None)
        return tried


def message_of(batch: Sequence[StoredNotification]) -> tuple[str, str]:
    """(title, body); several are told together."""
    if len(batch) == 1:
        one = batch[0].notification
        return f"brightrun: {one.title}", one.body
    lines = [
        f"{one.notification.time:%Y-%m-%d %H:%M} UTC  {one.notification.title}"
        for one in batch[-_MOST_LINES:]
    ]
    if len(batch) > _MOST_LINES:
        lines.insert(0, f"{len(batch) - _MOST_LINES} earlier ones: `brightrun notify history`.")
    return f"brightrun: {many(len(batch), 'notice')}", "\n".join(lines)
