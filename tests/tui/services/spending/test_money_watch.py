from __future__ import annotations

import asyncio
from datetime import timedelta

from shared.events import utc_now
from shared.money.records import MoneyNotice, NoticeScope
from shared.store.store import Store
from tui.services.spending.money_watch import follow_notices, notices_since

SECOND = timedelta(seconds=1)


def notice(share: float, after: timedelta, message: str = "told") -> MoneyNotice:
    return MoneyNotice(NoticeScope.JOB, "job-one", share, utc_now() + after, message)


async def test_each_notice_since_the_beginning_is_told_once_and_none_of_before(
    store: Store,
) -> None:
    await store.spending.tell_once(notice(0.5, -3600 * SECOND))
    told: list[float] = []
    following = asyncio.create_task(
        follow_notices(
            store, lambda each: told.append(each.share), since=utc_now() - SECOND, poll_s=0.01
        )
    )
    try:
        await store.spending.tell_once(notice(0.8, 5 * SECOND))
        async with asyncio.timeout(5):
            while told != [0.8]:
                await asyncio.sleep(0.01)
        # Written a moment later, by another controller whose clock is a little behind.
        await store.spending.tell_once(notice(1.0, 4 * SECOND))
        async with asyncio.timeout(5):
            while told != [0.8, 1.0]:
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_whoever_sends_notices_elsewhere_asks_for_those_since_a_moment(store: Store) -> None:
    await store.spending.tell_once(notice(0.5, -60 * SECOND, "half"))

    [found] = await notices_since(store, utc_now() - 120 * SECOND)
    assert found.message == "half"
    assert await notices_since(store, utc_now()) == []
