from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.money.records import (
    KeptVolume,
    MachineBill,
    MoneyNotice,
    NoticeScope,
    SpendingOverride,
)
from shared.store.store import Store

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HALF = MoneyNotice(NoticeScope.JOB, "job-one", 0.5, NOW, "half of it")


async def test_each_share_of_a_limit_is_told_once(store: Store) -> None:
    later = replace(HALF, time=NOW + timedelta(hours=1), message="half of it, and more")

    assert await store.spending.tell_once(HALF)
    assert not await store.spending.tell_once(later)
    assert await store.spending.tell_once(replace(later, key="job-two"))
    assert await store.spending.tell_once(replace(later, scope=NoticeScope.PROJECTED))
    assert await store.spending.tell_once(replace(HALF, share=0.8))


async def test_notices_are_told_from_a_moment_on_in_their_order(store: Store) -> None:
    most = replace(HALF, share=0.8, time=NOW + timedelta(hours=1))
    await store.spending.tell_once(most)
    await store.spending.tell_once(HALF)

    assert await store.spending.notices_since(NOW - timedelta(seconds=1)) == [HALF, most]
    assert await store.spending.notices_since(NOW) == [most]


async def test_an_override_counts_for_its_month_and_its_job(store: Store) -> None:
    first = SpendingOverride(NOW, "2026-11", "job-one", 500.0, 520.0, "the client waits")
    second = SpendingOverride(NOW, "2026-12", "job-two", 500.0, 610.0, "again")
    await store.spending.record_override(first)
    await store.spending.record_override(second)

    assert await store.spending.overrides() == [first, second]
    assert await store.spending.overrides("2026-11", "job-one") == [first]
    assert await store.spending.overrides("2026-12", "job-one") == []


async def test_a_bill_that_says_nothing_yet_leaves_an_earlier_figure(store: Store) -> None:
    later = NOW + timedelta(hours=1)
    await store.spending.save_bill(MachineBill("m-1", None, NOW))
    assert (await store.spending.bills())["m-1"].billed_usd is None

    await store.spending.save_bill(MachineBill("m-1", 2.5, NOW))
    await store.spending.save_bill(MachineBill("m-1", None, later))

    assert await store.spending.bills() == {"m-1": MachineBill("m-1", 2.5, later)}


async def test_a_volume_keeps_the_moment_it_was_first_seen_and_its_last_known_price(
    store: Store,
) -> None:
    first = KeptVolume("runpod", "v-1", "data", 100, "US-KS-2", 7.0, NOW, NOW)
    later = NOW + timedelta(hours=2)
    await store.spending.saw_volume(first)
    await store.spending.saw_volume(
        replace(first, size_gb=200, usd_per_month=None, first_seen_at=later, last_seen_at=later)
    )

    assert await store.spending.volumes() == [replace(first, size_gb=200, last_seen_at=later)]
