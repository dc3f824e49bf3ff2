"""Forecasts in a store: made, kept, compared with what the job took, and corrected by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.events import JournalRecord, utc_now
from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import Forecast, PartName
from shared.hyperparameters import Hyperparameters
from shared.lifecycle import JobStatus, StopReason
from shared.rental import MachineState, RentalPhase
from shared.store.store import Store
from tests.shared.forecast.foreseen import host, place, work
from tests.shared.store.journal import (
    BEGIN,
    completed_job,
    ended,
    job_spec,
    journal,
    metrics,
    started,
)
from tests.tui import rented
from tui.services.forecasting import (
    accuracy,
    forecast_again,
    history,
    keep_forecast,
    past_of,
)
from tui.services.settled_forecasts import settle_forecast

LOCAL_WORK = work(base_model="tiny", tokens_per_epoch=200, num_epochs=2, total_steps=4)


async def run_job(
    store: Store,
    job_id: str = "job-one",
    foreseen: Forecast | None = None,
    records: Sequence[JournalRecord] | None = None,
    **spec: Any,
) -> None:
    """A job that was foreseen, and that has ended since."""
    await store.add_job(job_spec(job_id, **spec), "local")
    await keep_forecast(store, job_id, foreseen or forecast(LOCAL_WORK, host()))
    done = completed_job(steps=4, job_id=job_id) if records is None else records
    await store.apply_records(job_id, done)


async def test_a_job_that_goes_on_has_no_actual_figures_yet(store: Store) -> None:
    await run_job(store, records=journal(started(), metrics(1, 2.0)))

    found = await settle_forecast(store, "job-one")

    assert found is not None and found.actual is None


async def test_what_a_job_took_is_put_beside_its_forecast_once(store: Store) -> None:
    await run_job(store)

    found = await settle_forecast(store, "job-one")

    assert found is not None and found.actual is not None
    # Four steps of 100 tokens in 0.5 s each.
    assert (found.actual.tokens, found.actual.tokens_per_s) == (400, 200.0)
    assert found.actual.corrects
    assert await settle_forecast(store, "job-one") == found
    assert await settle_forecast(store, "job-none") is None


async def test_the_next_forecast_goes_by_what_the_last_one_took(store: Store) -> None:
    await run_job(store)
    found = await settle_forecast(store, "job-one")
    assert found is not None and found.actual is not None

    past = await past_of(store, "tiny", "local")
    training = forecast(LOCAL_WORK, host(), past).part(PartName.TRAINING)

    assert training.source == "1 past job on local"
    assert training.seconds is not None
    assert training.seconds.expected == pytest.approx(found.actual.part_s(PartName.TRAINING))
    assert [job.job_id for job in await history(store, "tiny", "local")] == ["job-one"]
    assert await history(store, "tiny", "ssh:box") == []


async def test_a_job_that_failed_shows_what_it_took_and_corrects_nothing(store: Store) -> None:
    failed = journal(started(), metrics(1, 2.0), ended(StopReason.DISK_FULL))
    await run_job(store, records=failed)

    found = await settle_forecast(store, "job-one")

    assert found is not None and found.actual is not None
    assert (found.actual.status, found.actual.corrects) == (JobStatus.FAILED, False)
    assert (await past_of(store, "tiny", "local")).jobs == ()
    assert (await accuracy(store)).n_jobs == 0


async def test_without_a_kept_forecast_the_speed_of_an_older_job_is_taken(store: Store) -> None:
    await store.add_job(job_spec(), "local")
    await store.apply_records("job-one", completed_job(steps=4))

    past = await past_of(store, "tiny", "local")

    assert past.speed is not None
    assert (past.speed.tokens_per_s, past.speed.job_id) == (200.0, "job-one")
    assert (await past_of(store, "tiny")).speed is None


async def test_accuracy_settles_what_nobody_has_looked_at(store: Store) -> None:
    foreseen = forecast(LOCAL_WORK, host())
    await run_job(store, foreseen=foreseen)
    await settle_forecast(store, "job-one")
    later = forecast(LOCAL_WORK, host(), await past_of(store, "tiny", "local"))
    await run_job(store, "job-two", later, completed_job(steps=4, job_id="job-two"))

    found = await accuracy(store)

    # The first could not be foreseen as a whole: how long it would train was unknown.
    assert found.n_jobs == 1
    assert found.hours_error is not None and found.hours_error < 0.5
    assert (found.dollars_error, found.inside_share) == (None, 1.0)
    assert (await accuracy(store, utc_now() + timedelta(days=1))).n_jobs == 0


async def test_a_rented_job_is_compared_once_its_machine_is_gone(store: Store) -> None:
    await rented.add_rented_job(store)
    foreseen = forecast(work(base_model="tiny"), place(usd_per_hour=2.39))
    await keep_forecast(store, "job-rent", foreseen)
    await store.apply_records("job-rent", completed_job(steps=4, job_id="job-rent"))
    await store.settle_job("job-rent", JobStatus.COMPLETED, "", StopReason.COMPLETED)
    gone_at = rented.BEGIN + timedelta(hours=1)
    machine = rented.machine(state=MachineState.GONE, gone_at=gone_at)
    await store.rentals.intend(machine)

    found = await settle_forecast(store, "job-rent")
    assert found is not None and found.actual is None

    phase_s = {RentalPhase.PROVISIONING: 90.0, RentalPhase.ENDING: 30.0, RentalPhase.QUEUED: 1e6}
    await rented.put(store, phase=RentalPhase.DONE, phase_s=phase_s)
    found = await settle_forecast(store, "job-rent")

    assert found is not None and found.actual is not None
    assert (found.actual.machine, found.actual.total_s) == ("H100_PCIE", 3600)
    assert found.actual.cost_usd == pytest.approx(2.39)
    assert found.actual.part_s(PartName.MACHINE) == 90
    assert found.actual.part_s(PartName.HOME) == 30
    assert [job.job_id for job in (await past_of(store, "tiny")).jobs] == ["job-rent"]


async def test_the_same_work_once_more_is_foreseen_from_the_first_time(store: Store) -> None:
    await run_job(store)
    await settle_forecast(store, "job-one")
    first = await store.get_job("job-one")
    longer = job_spec("job-two", hyperparameters=Hyperparameters(num_epochs=6))
    other = job_spec("job-two", hyperparameters=Hyperparameters(max_seq_length=512))

    again = await forecast_again(store, first, longer)

    assert again is not None
    assert (again.work.num_epochs, again.work.tokens) == (6, 1200)
    assert again.part(PartName.TRAINING).source == "1 past job on local"
    assert await forecast_again(store, first, other) is None
    elsewhere = await forecast_again(store, first, longer, "ssh:box")
    assert elsewhere is not None
    assert elsewhere.part(PartName.TRAINING).seconds is None
    assert elsewhere.place.machine == "ssh:box"


async def test_the_phases_of_a_rental_add_up() -> None:
    sight = rented.sight(phase=RentalPhase.CONNECTING, phase_s={RentalPhase.CONNECTING: 5.0})

    left = sight.rental.left_at(rented.BEGIN + timedelta(seconds=7))

    assert left == {RentalPhase.CONNECTING: 12.0}
    assert sight.rental.left_at(BEGIN - timedelta(days=9)) == {RentalPhase.CONNECTING: 5.0}
