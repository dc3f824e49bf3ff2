from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from shared.forecast.actual import Actual
from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import PartName
from shared.lifecycle import JobStatus
from shared.store.schema import forecasts
from shared.store.store import Store
from tests.shared.forecast.foreseen import place, work
from tests.shared.store.journal import BEGIN, job_spec

FORESEEN = forecast(work(), place(usd_per_hour=2.0))
ACTUAL = Actual(
    machine="H100_PCIE",
    status=JobStatus.COMPLETED,
    seconds={PartName.TRAINING: 12.5},
    total_s=20.0,
)


async def test_a_forecast_comes_back_as_it_was_and_the_first_one_stays(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    await store.forecasts.put("job-one", FORESEEN, BEGIN)
    await store.forecasts.put("job-one", forecast(work(num_epochs=9), place()), BEGIN)

    found = await store.forecasts.get("job-one")

    assert found is not None
    assert (found.forecast, found.made_at, found.actual) == (FORESEEN, BEGIN, None)
    assert await store.forecasts.get("job-two") is None


async def test_what_it_took_is_put_beside_it(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    await store.forecasts.put("job-one", FORESEEN, BEGIN)
    await store.forecasts.settle("job-one", ACTUAL)
    await store.forecasts.settle("job-two", ACTUAL)

    [found] = await store.forecasts.all()
    assert found.actual == ACTUAL


async def test_they_are_listed_newest_first_and_since_a_moment(store: Store) -> None:
    for number in range(3):
        await store.add_job(job_spec(f"job-{number}"), "local")
        await store.forecasts.put(f"job-{number}", FORESEEN, BEGIN + timedelta(days=number))

    assert [each.job_id for each in await store.forecasts.all()] == ["job-2", "job-1", "job-0"]
    since = BEGIN + timedelta(days=2)
    assert [each.job_id for each in await store.forecasts.all(since)] == ["job-2"]


async def test_a_row_that_cannot_be_read_is_passed_over(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    await store.forecasts.put("job-one", FORESEEN, BEGIN)
    async with store.database.writing() as connection:
        await connection.execute(update(forecasts).values(forecast={"parts": "of another age"}))

    assert await store.forecasts.get("job-one") is None
    assert await store.forecasts.all() == []
