from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import InvalidInput, OverMonthlyLimit
from shared.money.periods import month_of
from shared.money.records import KeptVolume
from shared.rental import MachineState, RentalPhase
from shared.store.store import Store
from shared.store.store_settings import MONTHLY_LIMIT_USD
from tests.tui.rented import add_rented_job, machine, put
from tui.services.spending.monthly_limit import (
    LONGEST_REASON,
    month_money,
    require_month,
    spent_in_month,
)

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


async def test_a_month_is_its_machines_and_volumes_each_with_its_part_in_it(store: Store) -> None:
    eve = datetime(2026, 10, 31, 22, 0, tzinfo=UTC)
    over = machine(
        state=MachineState.GONE,
        created_at=eve,
        rented_at=eve,
        gone_at=eve + 12 * HOUR,
        usd_per_hour=2.0,
    )
    await store.rentals.intend(over)
    volume = KeptVolume("runpod", "v", "data", 100, "X", 73.0, eve, eve + 22 * HOUR)
    await store.spending.saw_volume(volume)

    assert await spent_in_month(store, NOW) == pytest.approx(20.0 + 2.0)
    assert await spent_in_month(store, eve) == pytest.approx(4.0 + 0.2)


async def test_an_open_job_counts_with_the_rest_of_its_budget_where_nobody_can_say(
    store: Store,
) -> None:
    await add_rented_job(store, "job-one", budget_usd=30.0)
    await add_rented_job(store, "job-two", budget_usd=50.0)
    one = machine("job-one", created_at=NOW - HOUR, rented_at=NOW - HOUR, usd_per_hour=2.0)
    await store.rentals.intend(one)
    await put(store, "job-one", phase=RentalPhase.INSTALLING, machine=one.name, rentals=1)

    month = await month_money(store, NOW)
    assert (month.spent_usd, month.open_usd) == (pytest.approx(2.0), pytest.approx(28.0 + 50.0))
    assert month.limit_usd == 500.0
    assert (await month_money(store, NOW, only_rented=True)).open_usd == pytest.approx(28.0)
    assert (await month_money(store, NOW, without="job-two")).open_usd == pytest.approx(28.0)


async def test_a_job_that_ended_counts_only_with_what_it_cost(store: Store) -> None:
    await add_rented_job(store, "job-one", budget_usd=30.0)
    await put(store, "job-one", phase=RentalPhase.DONE)

    assert (await month_money(store, NOW)).open_usd == 0.0


async def test_a_job_beyond_the_limit_is_refused_with_figures_and_what_to_do(store: Store) -> None:
    await add_rented_job(store, "job-one", budget_usd=480.0)

    await require_month(store, "job-new", 19.0)
    with pytest.raises(OverMonthlyLimit) as caught:
        await require_month(store, "job-new", 20.0)

    assert "expected to cost $500.00" in str(caught.value)
    assert "--over-limit REASON" in str(caught.value)
    assert "brightrun costs limit USD" in str(caught.value)
    assert await store.spending.overrides() == []


async def test_a_reason_lets_it_through_and_is_recorded_once(store: Store) -> None:
    await store.settings.put(MONTHLY_LIMIT_USD, 10.0)

    await require_month(store, "job-new", 25.0, " the client \x1b[31mwaits ")
    await require_month(store, "job-new", 25.0, "the client waits")

    [override] = await store.spending.overrides()
    assert override.reason.startswith("the client")
    assert "\x1b" not in override.reason
    assert (override.job_id, override.limit_usd, override.expected_usd) == ("job-new", 10.0, 25.0)
    assert override.month == month_of(datetime.now(UTC))
    await require_month(store, "job-new", 25.0)
    with pytest.raises(OverMonthlyLimit):
        await require_month(store, "job-other", 25.0)


async def test_a_reason_below_the_limit_is_not_recorded(store: Store) -> None:
    await require_month(store, "job-new", 5.0, "in case")

    assert await store.spending.overrides() == []


async def test_a_reason_that_is_too_long_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput, match="characters"):
        await require_month(store, "job-new", 5.0, "x" * (LONGEST_REASON + 1))
