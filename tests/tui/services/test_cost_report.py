from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from shared.forecast.arithmetic import forecast
from shared.money.records import MachineBill
from shared.rental import MachineState
from shared.store.store import Store
from tests.shared.forecast.foreseen import past_job, place, work
from tests.tui.rented import machine
from tests.tui.spending import NOW, add_job, add_machine, spend
from tests.tui.views.test_costs import line
from tui.services.cost_report import month_costs, read_cost_report
from tui.views.costs import added_up


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.services.spending.costs.utc_now", lambda: NOW)


async def test_the_last_days_are_told_with_today_among_them(store: Store) -> None:
    await spend(store)
    week = await read_cost_report(store, 7, NOW)
    assert week.first_day == date(2026, 11, 14)
    assert {line.job_id for line in week.lines} == {"", "job-pension"}
    quarter = await read_cost_report(store, 90, NOW)
    assert {line.job_id for line in quarter.lines} == {
        "",
        "job-elena",
        "job-pension",
        "job-plain",
    }


async def test_the_month_is_whole_however_short_the_period_is(store: Store) -> None:
    await spend(store)
    week = await read_cost_report(store, 7, NOW)
    quarter = await read_cost_report(store, 90, NOW)
    assert week.month == quarter.month
    # 8 h at 2.39, 10 h at 3.28, 5.5 h at 2.39 and 17 days and 15 hours of the volume.
    machines = 8 * 2.39 + 10 * 3.28 + 5.5 * 2.39
    assert week.month.spent_usd == pytest.approx(machines + 423 * 14 / 730, rel=1e-3)
    assert week.month.limit_usd == 500.0
    assert len(week.month.daily_usd) == 20


async def test_open_jobs_may_cost_what_is_left_of_their_budgets(store: Store) -> None:
    await spend(store)
    found = await read_cost_report(store, 7, NOW)
    assert found.month.open_most_usd == pytest.approx(40 - 5.5 * 2.39)  # One is open.
    assert 0 < found.month.open_usd <= found.month.open_most_usd


async def test_bills_are_compared_where_they_are_known(store: Store) -> None:
    await spend(store)
    month = await read_cost_report(store, 30, NOW)
    assert [round(each.usd, 2) for each in month.differences] == [0.0, 3.60]
    assert [each.is_notable for each in month.differences] == [False, True]
    assert not month.bill_may_grow
    assert (await read_cost_report(store, 7, NOW)).differences == ()


async def test_a_bill_that_was_asked_for_early_may_still_grow(store: Store) -> None:
    await add_job(store, "job-new", "just ended")
    ended = await add_machine(store, "job-new", NOW - timedelta(hours=3), 2.0)
    await store.spending.save_bill(MachineBill(ended.name, 1.0, NOW))
    assert (await read_cost_report(store, 7, NOW)).bill_may_grow


async def test_it_says_how_good_the_estimates_of_these_days_were(store: Store) -> None:
    await spend(store)
    foreseen = forecast(work(), place(usd_per_hour=2.39))
    assert foreseen.total is not None
    took = past_job(foreseen, total_s=1.1 * foreseen.total.expected, cost_usd=None)
    await store.forecasts.put("job-pension", foreseen, NOW - timedelta(days=2))
    await store.forecasts.settle("job-pension", took.actual)
    found = await read_cost_report(store, 7, NOW)
    assert found.accuracy.n_jobs == 1
    assert found.accuracy.hours_error == pytest.approx(0.1)
    assert (await read_cost_report(store, 1, NOW)).accuracy.n_jobs == 0


async def test_a_machine_that_runs_costs_up_to_now(store: Store) -> None:
    await add_job(store, "job-runs", "still at work")
    begin = NOW - timedelta(hours=2)
    await store.rentals.intend(
        machine("job-runs", MachineState.RENTED, created_at=begin, rented_at=begin)
    )
    found = await read_cost_report(store, 7, NOW)
    assert added_up(found.lines).machine_usd == pytest.approx(2 * 2.39)


async def test_an_empty_store_costs_nothing(store: Store) -> None:
    found = await read_cost_report(store, 30, NOW)
    assert found.lines == ()
    assert found.month.spent_usd == 0.0
    assert found.month.projected_usd == 0.0
    assert found.accuracy.n_jobs == 0


def test_the_pace_is_of_the_time_that_has_passed() -> None:
    noon = datetime(2026, 11, 11, 0, 0, tzinfo=UTC)
    found = month_costs(
        [line(usd=50.0, day=date(2026, 11, 3))],
        noon,
        limit_usd=500.0,
        open_usd=0.0,
        open_most_usd=0.0,
    )
    assert found.projected_usd == pytest.approx(150.0)
    assert found.daily_usd[2] == 50.0
    assert found.days == 30


def test_a_month_of_some_hours_has_no_pace() -> None:
    early = datetime(2026, 11, 1, 5, 0, tzinfo=UTC)
    found = month_costs(
        [line(usd=5.0, day=date(2026, 11, 1))],
        early,
        limit_usd=500.0,
        open_usd=0.0,
        open_most_usd=0.0,
    )
    assert found.projected_usd is None
