"""Tells, once each, how much of a job's budget and of the monthly limit is spent.

It ends nothing: the agent and `training` keep to the budget. A notice is in the store before it is
told, so that no two controllers tell it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import median

from shared.events import Metrics, utc_now
from shared.job_state import JobState
from shared.money.periods import month_of
from shared.money.records import MoneyNotice, NoticeScope
from shared.money.shares import JOB_SHARES, MONTH_SHARES, reached
from shared.store.rentals import StoredRental
from shared.store.store import Store
from tui.services.spending import notice_words
from tui.services.spending.job_money import money_now
from tui.services.spending.monthly_limit import spent_in_month
from tui.services.spending.outlook import outlook_of

_LATEST_STEPS = 5
_FEWEST_STEPS = 3
"""Of an attempt, before its speed is believed: the first step is slow by nature."""


class SpendingWatch:
    """One controller's: what it has told need not be asked of the store again."""

    def __init__(self, store: Store, tell: Callable[[str], None], month_pause_s: float) -> None:
        self._store = store
        self._tell = tell
        self._told: set[tuple[NoticeScope, str, float]] = set()
        self._month_pause_s = month_pause_s
        self._month_at = 0.0

    async def look(self, open_ones: Sequence[StoredRental], now: datetime | None = None) -> None:
        """At all jobs that are open, and at the month."""
        now = now or utc_now()
        for stored in open_ones:
            if stored.rental.rentals:  # Before its first machine there is nothing to tell.
                await self.look_at(stored, now)
        if open_ones and time.monotonic() >= self._month_at:
            self._month_at = time.monotonic() + self._month_pause_s
            await self._look_at_month(open_ones, now)

    async def look_at(self, stored: StoredRental, now: datetime) -> None:
        """At one job's budget."""
        machines = await self._store.rentals.machines(stored.job_id)
        state = (await self._store.get_job(stored.job_id)).state
        outlook = await outlook_of(self._store, stored.job_id)
        rental, request = stored.rental, stored.request
        money = money_now(rental, request, machines, state, outlook, now)
        shares = reached(money.spent_usd, money.budget_usd, JOB_SHARES)
        words = notice_words.share_of_budget(money, max(shares, default=0.0))
        if await self._tell_once(NoticeScope.JOB, stored.job_id, shares, now, words):
            await self._note(stored, now, words)
        if money.is_beyond_budget and not self._knows(NoticeScope.PROJECTED, stored.job_id, 1.0):
            steady = await self._at_steady_speed(stored, state)
            if steady is None:
                return
            money = money_now(rental, request, machines, steady, outlook, now)
            if money.is_beyond_budget:
                words = notice_words.beyond_budget(money)
                await self._tell_projected(stored, now, words)

    async def _tell_projected(self, stored: StoredRental, now: datetime, words: str) -> None:
        scope = NoticeScope.PROJECTED
        if await self._tell_once(scope, stored.job_id, (1.0,), now, words):
            await self._note(stored, now, words)

    async def _at_steady_speed(self, stored: StoredRental, state: JobState) -> JobState | None:
        """The state with the median of the latest steps: one slow step is no straggler.

        None while there are too few of them.
        """
        if state.step_s is None:
            return state if state.step == 0 else None
        latest = await self._store.events_of(stored.job_id, Metrics, last=_LATEST_STEPS)
        if len(latest) < _FEWEST_STEPS:
            return None
        return state.model_copy(update={"step_s": median(each.step_s for each in latest)})

    async def _look_at_month(self, open_ones: Sequence[StoredRental], now: datetime) -> None:
        month = month_of(now)
        limit_usd = await self._store.settings.monthly_limit_usd()
        spent_usd = await spent_in_month(self._store, now)
        shares = reached(spent_usd, limit_usd, MONTH_SHARES)
        words = notice_words.share_of_month(month, spent_usd, limit_usd, max(shares, default=0.0))
        key = f"{month} {limit_usd:.2f}"  # Of another limit, shares are told again.
        if await self._tell_once(NoticeScope.MONTH, key, shares, now, words):
            self._tell(words)
            for stored in open_ones:
                await self._store.rentals.note(stored.job_id, now, words, "warning")

    async def _tell_once(
        self,
        scope: NoticeScope,
        key: str,
        shares: Sequence[float],
        now: datetime,
        words: str,
    ) -> bool:
        """Write down what was reached; True if the highest of it is new to everybody."""
        is_new = False
        for share in shares:
            if self._knows(scope, key, share):
                is_new = False
                continue
            is_new = await self._store.spending.tell_once(
                MoneyNotice(scope, key, share, now, words)
            )
            self._told.add((scope, key, share))
        return is_new

    def _knows(self, scope: NoticeScope, key: str, share: float) -> bool:
        return (scope, key, share) in self._told

    async def _note(self, stored: StoredRental, now: datetime, words: str) -> None:
        await self._store.rentals.note(stored.job_id, now, words, "warning")
        self._tell(f"{stored.job_id}: {words}")
