"""Sweeps: what is written down for all their jobs at once, what is rented for each, and their end.

Nothing here starts a job: those on hosts of the user's own wait for their turn, and rented ones
have the controller.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from shared.errors import BrightRunError, InvalidDataset, InvalidJobSpec, OverBudget
from shared.events import utc_now
from shared.forecast.forecast import Forecast
from shared.job_spec import JobSpec
from shared.job_state import JobState
from shared.lifecycle import Activity
from shared.machine_request import Candidate, Cloud, MachineRequest
from shared.number_text import many, usd
from shared.store.stored import StoredJob
from shared.sweep import Sweep
from tui.services import jobs
from tui.services.dataset_check import CheckedFile
from tui.services.dataset_registry import record_check
from tui.services.forecasting import keep_forecast
from tui.services.hosts.names import RUNPOD, RUNPOD_PREFIX
from tui.services.providers.provider import DataCenter, NetworkVolume, Provider
from tui.services.rent_options import TrainingWork
from tui.services.rent_plan import RentPlan, RentWanted, plan_rent
from tui.services.rent_volumes import NewVolume
from tui.services.session import Session
from tui.services.webhook_targets import keep_target


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One job of a sweep, with the training file as it was checked for it."""

    spec: JobSpec
    checked: CheckedFile
    foreseen: Forecast | None = None
    """None where nobody can say."""


@dataclass(frozen=True, slots=True)
class SweepRent:
    """What would be rented, job by job; complete but for the user's consent."""

    plans: tuple[RentPlan, ...]
    new_volume: NewVolume | None
    """One for all of them, to be made first."""

    def requests(self, volume: NetworkVolume | None) -> dict[str, MachineRequest]:
        """By job id, with the volume that was made."""
        return {plan.work.spec.job_id: plan.request(volume=volume) for plan in self.plans}

    @property
    def hours(self) -> tuple[float, float] | None:
        """Least and most, of all jobs together; None where one of them is unknown."""
        return _sum_of([plan.options[0].hours for plan in self.plans])

    @property
    def cost_usd(self) -> tuple[float, float] | None:
        """Least and most, of all jobs together; None where one of them is unknown."""
        return _sum_of([plan.options[0].cost_usd for plan in self.plans])


async def write_sweep(
    session: Session,
    sweep: Sweep,
    planned: Sequence[PlannedJob],
    host: str,
    requests: Mapping[str, MachineRequest] | None = None,
) -> int:
    """Write down all jobs, or none; returns how many were new. Done again, it changes nothing.

    Raises:
        InvalidDataset: the training file has errors with the settings of one of the jobs.
        InvalidJobSpec: an id belongs to another sweep, or to a job with another spec.
    """
    for each in planned:
        if each.checked.report.has_errors:
            raise InvalidDataset(f"{each.checked.path}: has errors; nothing was started.")
    for checked in {id(each.checked): each.checked for each in planned}.values():
        await record_check(session.store, checked)
    name = None if host == RUNPOD else session.hosts.get(host).name
    written = [_stored(each.spec, sweep, name) for each in planned]
    created = await session.store.sweeps.add(sweep, written, requests)
    for each in planned:
        await keep_forecast(session.store, each.spec.job_id, each.foreseen)
        await keep_target(session.store, each.spec.job_id)
    return created


def _stored(spec: JobSpec, sweep: Sweep, host: str | None) -> StoredJob:
    """As it waits; `host` is None for one that is rented for."""
    now = utc_now()
    return StoredJob(
        spec=spec,
        state=JobState(rented=host is None, activity=Activity.WAITING_FOR_TURN),
        host=RUNPOD_PREFIX + spec.job_id if host is None else host,
        retry_of=None,
        error_message=None,
        created_at=now,
        updated_at=now,
        waits_for_turn=host is not None,
        sweep_id=sweep.sweep_id,
    )


async def started_before(session: Session, sweep: Sweep, specs: Sequence[JobSpec]) -> bool:
    """True if exactly this sweep is written down already, with all its jobs.

    Raises:
        InvalidJobSpec: the id belongs to another sweep.
    """
    known = await session.store.sweeps.get(sweep.sweep_id)
    if known is None:
        return False
    there = {job.job_id: job.spec for job in await session.store.sweeps.jobs(sweep.sweep_id)}
    same = all(there[spec.job_id].same_work_as(spec) for spec in specs if spec.job_id in there)
    if not known.same_work_as(sweep) or not same:
        raise InvalidJobSpec(
            f"sweep {sweep.sweep_id} exists with other values, another name, budget or dataset: "
            "choose another --sweep-id."
        )
    return len(there) == len(specs)


async def plan_sweep_rent(
    provider: Provider, wanted: RentWanted, sweep: Sweep, works: Sequence[TrainingWork]
) -> SweepRent:
    """What is to be had for each of the jobs now, within its share. Rents nothing.

    Raises:
        OverBudget: an equal share does not pay for the cheapest machine of a job.
        InvalidMachineRequest, TooLittleMemory, ProviderError: as for `plan_rent`.
    """
    at_once = cast("Provider", _OneLook(provider))
    share = math.floor((wanted.budget_usd or 0.0) / len(works) * 100) / 100
    wanted = replace(wanted, budget_usd=share)
    plans: list[RentPlan] = []
    for work in works:
        try:
            plan = await plan_rent(at_once, wanted, work)
        except OverBudget as error:
            raise OverBudget(
                f"The sweep's budget gives each of its {many(len(works), 'job')} {usd(share)}. "
                f"{work.spec.name}: {error} Figures are for one job."
            ) from error
        plans.append(plan)
        if plan.new_volume is not None:  # One for all: the others have to be where it is.
            wanted = replace(wanted, data_centers=(plan.new_volume.data_center,))
    return SweepRent(tuple(plans), _one_volume(plans, sweep))


def _one_volume(plans: Sequence[RentPlan], sweep: Sweep) -> NewVolume | None:
    made = [plan.new_volume for plan in plans if plan.new_volume is not None]
    if not made:
        return None
    largest = max(made, key=lambda volume: volume.size_gb)
    return replace(largest, name=f"brightrun-{sweep.sweep_id}")


def _sum_of(spans: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [span for span in spans if span is not None]
    if len(known) < len(spans):
        return None
    return sum(least for least, _ in known), sum(most for _, most in known)


class _OneLook:
    """Of a provider only what a plan asks for, and that once: jobs of a sweep ask alike."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.name = provider.name
        self._offers: dict[object, list[Candidate]] = {}
        self._volumes: list[NetworkVolume] | None = None
        self._data_centers: list[DataCenter] | None = None

    async def offers(
        self, gpu_types: Sequence[str], gpu_count: int, clouds: Sequence[Cloud]
    ) -> list[Candidate]:
        asked = (tuple(gpu_types), gpu_count, tuple(clouds))
        if asked not in self._offers:
            self._offers[asked] = await self._provider.offers(gpu_types, gpu_count, clouds)
        return self._offers[asked]

    async def volumes(self) -> list[NetworkVolume]:
        if self._volumes is None:
            self._volumes = await self._provider.volumes()
        return self._volumes

    async def data_centers(self) -> list[DataCenter]:
        if self._data_centers is None:
            self._data_centers = await self._provider.data_centers()
        return self._data_centers


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of the wish to cancel a sweep."""

    asked: int
    """Jobs that had not ended."""
    troubles: tuple[str, ...]
    """Why the wish did not arrive, one for each job of which that is so."""


async def cancel_sweep(session: Session, sweep_id: str, reason: str) -> Cancelled:
    """Cancel every job that has not ended; those that wait end at once, and come first."""
    found = [job for job in await session.store.sweeps.jobs(sweep_id) if not job.status.is_final]
    # First those that wait: else the end of one that runs would be the next one's turn.
    found.sort(key=lambda job: (not _waits(job), job.job_id))
    waiting = [job for job in found if _waits(job)]
    troubles = []
    for job in waiting:
        troubles.append(await _cancel(session, job, reason))
    rest = [job for job in found if not _waits(job)]
    troubles += await asyncio.gather(*(_cancel(session, job, reason) for job in rest))
    return Cancelled(len(found), tuple(trouble for trouble in troubles if trouble))


def _waits(job: StoredJob) -> bool:
    return job.state.activity is Activity.WAITING_FOR_TURN


async def _cancel(session: Session, job: StoredJob, reason: str) -> str:
    try:
        await jobs.cancel_job(session, job, reason)
    except BrightRunError as error:
        return f"{job.job_id}: {error}"
    return ""
