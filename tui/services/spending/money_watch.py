"""Tells one listener of shares of a budget or of the monthly limit that were reached since.

It reads the store, so a console that only watches hears what another one's controller found. The
one place to begin for whoever wants to send such notices elsewhere: `notices_since`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from shared.errors import StoreError
from shared.events import utc_now
from shared.money.records import MoneyNotice
from shared.store.store import Store

_POLL_S = 3.0
_LATENESS = timedelta(minutes=2)


async def notices_since(store: Store, moment: datetime) -> list[MoneyNotice]:
    """Everything that was told after `moment`, in order; each share of a limit once for ever."""
    return await store.spending.notices_since(moment)


async def follow_notices(
    store: Store,
    tell: Callable[[MoneyNotice], None],
    *,
    since: datetime | None = None,
    poll_s: float = _POLL_S,
) -> None:
    """Until cancelled; a store that cannot be read is tried again."""
    begin = latest = since or utc_now()
    told: set[tuple[str, str, float]] = set()
    while True:
        with suppress(StoreError):
            # A notice is written a little after the moment that it names.
            for notice in await notices_since(store, max(begin, latest - _LATENESS)):
                latest = max(latest, notice.time)
                name = (notice.scope.value, notice.key, notice.share)
                if name not in told:
                    told.add(name)
                    tell(notice)
        await asyncio.sleep(poll_s)
