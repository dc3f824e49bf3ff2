from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shared.events import utc_now
from shared.store.store import Store
from tui.services.controller import leadership
from tui.services.controller.leadership import Leadership


class Clock:
    """Goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(leadership, "_clock_s", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_the_first_leads_and_the_second_knows_who(store: Store) -> None:
    first = Leadership(store.rentals, "console", 60.0)
    second = Leadership(store.rentals, "serve", 60.0)

    assert not first.leads
    assert await first.renew()
    assert not await second.renew()
    assert first.leads and not second.leads
    assert second.lease is not None and first.lease is not None
    assert second.lease == first.lease
    assert second.lease.label.startswith("console on ")
    assert second.lease.label.endswith(f"(pid {os.getpid()})")


async def test_a_leader_that_ends_lets_another_lead_at_once(store: Store) -> None:
    first = Leadership(store.rentals, "console", 60.0)
    second = Leadership(store.rentals, "serve", 60.0)
    await first.renew()

    await first.give_up()

    assert not first.leads
    assert await second.renew()


async def test_a_leader_stops_by_its_own_clock_before_another_can_lead(
    store: Store, clock: Clock
) -> None:
    leader = Leadership(store.rentals, "console", 60.0)
    await leader.renew()

    clock.now_s += 59.9
    assert leader.leads
    clock.now_s += 0.2
    assert not leader.leads
    assert leader.remaining_s < 0


async def test_a_leader_whose_lease_was_taken_leads_no_more(
    store: Store, database_path: Path
) -> None:
    leader = Leadership(store.rentals, "console", 60.0)
    await leader.renew()
    later = utc_now().replace(year=2999).isoformat()
    with closing(sqlite3.connect(database_path)) as connection, connection:
        connection.execute("update leases set owner = 'another', expires_at = ?", (later,))

    assert not await leader.renew()
    assert not leader.leads


async def test_while_the_store_is_ill_a_leader_leads_on_until_its_lease_is_over(
    store: Store, database_path: Path, clock: Clock
) -> None:
    leader = Leadership(store.rentals, "console", 60.0)
    await leader.renew()
    with closing(sqlite3.connect(database_path)) as connection, connection:
        connection.execute("drop table leases")

    assert await leader.renew()
    clock.now_s += 61
    assert not await leader.renew()
    assert not leader.leads
