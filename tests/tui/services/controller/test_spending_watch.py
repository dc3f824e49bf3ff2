"""What is told of a job's budget and of the month, by a scripted clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.lifecycle import Activity, JobStatus
from shared.rental import RentalPhase
from shared.store.store import Store
from shared.store.store_settings import MONTHLY_LIMIT_USD
from tests.shared.store.journal import journal, metrics, run_facts, stage, started
from tests.tui.rented import add_rented_job, machine, put
from tui.services.controller.controller import Controller
from tui.services.controller.spending_watch import SpendingWatch
from tui.services.session import open_session
from tui.services.spending.money_watch import notices_since

BEGIN = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Watched:
    """One job at $2.00 an hour with a budget of $10.00, and who watches its money."""

    def __init__(self, store: Store, job_id: str = "job-rent") -> None:
        self.store = store
        self.job_id = job_id
        self.told: list[str] = []
        self.watch = self.another()

    def another(self) -> SpendingWatch:
        """Another controller of the same store."""
        return SpendingWatch(self.store, self.told.append, month_pause_s=0.0)

    async def rent(self) -> None:
        await add_rented_job(self.store, self.job_id, budget_usd=10.0)
        one = machine(self.job_id, created_at=BEGIN, rented_at=BEGIN, usd_per_hour=2.0)
        await self.store.rentals.intend(one)
        await put(
            self.store,
            self.job_id,
            phase=RentalPhase.RUNNING,
            machine=one.name,
            rentals=1,
            first_rented_at=BEGIN,
        )

    async def step(self, *seconds: float, total_steps: int = 1000) -> None:
        """Let it have taken these steps."""
        events = [
            started(),
            stage(JobStatus.TRAINING, Activity.TRAINING),
            run_facts(total_steps),
            *(metrics(number, 1.0, step_s=s) for number, s in enumerate(seconds, start=1)),
        ]
        await self.store.apply_records(self.job_id, journal(*events, job_id=self.job_id))

    async def look(self, after: timedelta, watch: SpendingWatch | None = None) -> list[str]:
        """What is told at this time, and was not before."""
        before = len(self.told)
        open_ones = await self.store.rentals.open_ones()
        await (watch or self.watch).look(open_ones, BEGIN + after)
        return self.told[before:]

    async def warnings(self) -> list[str]:
        """In the job's ledger."""
        entries = await self.store.rentals.ledger(self.job_id)
        return [entry.message for entry in entries if entry.level == "warning"]


@pytest.fixture
async def watched(store: Store) -> Watched:
    job = Watched(store)
    await job.rent()
    return job


async def test_half_four_fifths_and_all_of_the_budget_are_told_once_each(watched: Watched) -> None:
    assert await watched.look(2 * HOUR) == []
    [half] = await watched.look(2.5 * HOUR)
    assert half == "job-rent: 50% of the budget is spent: $5.00 of $10.00."
    assert await watched.look(3 * HOUR) == []
    [most] = await watched.look(4 * HOUR)
    assert "80% of the budget is spent: $8.00 of $10.00" in most
    [everything] = await watched.look(5.1 * HOUR)
    assert "100% of the budget" in everything
    assert await watched.look(9 * HOUR) == []
    assert len(await watched.warnings()) == 3


async def test_where_two_shares_are_reached_at_once_only_the_larger_is_told(
    watched: Watched,
) -> None:
    [told] = await watched.look(4.5 * HOUR)

    assert "80%" in told
    notices = await notices_since(watched.store, LONG_AGO)
    assert [notice.share for notice in notices] == [0.5, 0.8], "half is not told later either"
    assert await watched.look(4.6 * HOUR, watched.another()) == []


async def test_the_next_controller_does_not_tell_again_what_was_told(watched: Watched) -> None:
    await watched.look(3 * HOUR)

    assert await watched.look(3.1 * HOUR, watched.another()) == []


async def test_a_straggler_is_told_once_when_the_job_will_cost_more_than_its_budget(
    watched: Watched,
) -> None:
    """Row 37: 1,000 steps of 10 s are $5.56, and of 40 s $22.22."""
    steps = [10.0] * 20
    await watched.step(*steps)
    assert await watched.look(HOUR) == []

    await watched.step(*steps, *[40.0] * 6)
    [told] = await watched.look(1.1 * HOUR)

    assert told.startswith("job-rent: At the present speed the job needs ~$")
    assert "more than its budget of $10.00" in told
    assert "the training is stopped at $9.50" in told
    assert await watched.look(1.2 * HOUR) == []
    assert await watched.look(1.3 * HOUR, watched.another()) == []


async def test_a_slow_first_step_is_no_straggler(watched: Watched) -> None:
    await watched.step(400.0)
    assert await watched.look(0.2 * HOUR) == [], "one step says nothing"

    await watched.step(400.0, 10.0, 10.0, 10.0, 10.0)

    job = await watched.store.get_job("job-rent")
    assert job.state.step_s is not None and job.state.step_s > 100, "the average still says so"
    assert await watched.look(0.3 * HOUR) == []


async def test_shares_of_the_month_are_told_once_to_every_open_job(
    watched: Watched, store: Store
) -> None:
    await store.settings.put(MONTHLY_LIMIT_USD, 100.0)
    other = Watched(store, "job-two")
    await other.rent()
    before = machine("job-old", created_at=BEGIN - 40 * HOUR, rented_at=BEGIN - 40 * HOUR)
    await store.rentals.intend(before)

    told = [line for line in await watched.look(0 * HOUR) if "monthly" in line]

    assert told == ["95% of the monthly limit is spent: $95.60 of $100.00 in 2026-11."]
    assert told[0] in await watched.warnings()
    assert told[0] in await other.warnings()
    assert [line for line in await watched.look(0.1 * HOUR) if "monthly" in line] == []
    [beyond] = [line for line in await watched.look(2 * HOUR) if "monthly" in line]
    assert "100% of the monthly limit" in beyond
    assert "Machines that run go on" in beyond


async def test_another_limit_and_another_month_are_told_anew(watched: Watched) -> None:
    await watched.store.settings.put(MONTHLY_LIMIT_USD, 1.0)
    assert any("of $1.00 in 2026-11" in line for line in await watched.look(2 * HOUR))
    await watched.store.settings.put(MONTHLY_LIMIT_USD, 2.0)
    assert any("of $2.00 in 2026-11" in line for line in await watched.look(2.1 * HOUR))
    december = timedelta(days=8, hours=3)
    assert any("of $2.00 in 2026-12" in line for line in await watched.look(december))


async def test_nothing_is_told_of_a_job_that_waits_for_its_first_machine(store: Store) -> None:
    job = Watched(store)
    await add_rented_job(store, budget_usd=10.0)

    assert await job.look(9 * HOUR) == []


async def test_a_defect_in_what_is_told_of_money_does_not_stop_the_controller(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(watched.watch, "look_at", broken)
    async with open_session() as session:
        controller = Controller(session, kind="serve", on_news=watched.told.append)
        await controller._look_at_money(watched.watch, await watched.store.rentals.open_ones())

    assert "ZeroDivisionError" in caplog.text
    assert "money is not watched" in watched.told[-1]
