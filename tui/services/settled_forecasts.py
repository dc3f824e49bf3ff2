"""Puts beside the forecast of a job that has ended what it took.

Reads the job's own records and, of a rented one, the ledger; asks no machine and no provider.
"""

from __future__ import annotations

from datetime import timedelta

from shared.events import utc_now
from shared.forecast.actual import Actual, measured
from shared.rental import Machine, MachinePurpose, RentalPhase
from shared.store.forecasts import StoredForecast
from shared.store.rentals import StoredRental
from shared.store.store import Store
from shared.store.stored import StoredJob


async def settle_forecast(store: Store, job_id: str) -> StoredForecast | None:
    """The job's forecast, with what it took where it has ended; None where none was made.

    Called where a job ends, and wherever a forecast is looked at; called again, it changes nothing.

    Raises:
        StoreError: the store cannot be read or written.
    """
    stored = await store.forecasts.get(job_id)
    if stored is None or stored.actual is not None:
        return stored
    job = await store.get_job(job_id)
    if not job.status.is_final or job.state.started_at is None:
        return stored
    rental = await store.rentals.get(job_id)
    if rental is not None and rental.rental.phase is not RentalPhase.DONE:
        return stored
    actual = await _actual_of(store, job, rental)
    await store.forecasts.settle(job_id, actual)
    return StoredForecast(job_id, stored.made_at, stored.forecast, actual)


async def _actual_of(store: Store, job: StoredJob, rental: StoredRental | None) -> Actual:
    records = await store.events(job.job_id)
    if rental is None:
        return measured(records, machine=job.host, status=job.status)
    machines = [
        machine
        for machine in await store.rentals.machines(job.job_id)
        if machine.purpose is MachinePurpose.TRAIN and machine.rented_at is not None
    ]
    return measured(
        records,
        machine=_gpu_type_of(rental, machines),
        status=job.status,
        phase_s=rental.rental.phase_s,
        paid_s=sum((_paid(machine) for machine in machines), timedelta()).total_seconds(),
        cost_usd=sum(machine.cost_usd(utc_now()) for machine in machines),
        machines=len(machines),
    )


def _paid(machine: Machine) -> timedelta:
    return max((machine.gone_at or utc_now()) - machine.created_at, timedelta())


def _gpu_type_of(rental: StoredRental, machines: list[Machine]) -> str:
    """Of the last machine that the job had; of the first that it would have had, else."""
    candidates = rental.request.candidates
    label = machines[-1].label if machines else ""
    found = (each for each in candidates if each.label == label)
    return next(found, candidates[0]).gpu_type
