"""Forecasts in the store: what earlier jobs took, what the next one will, and how good that was.

The arithmetic stands in `shared.forecast` and `tui.services.estimate`; this reads and writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

from shared.events import utc_now
from shared.forecast.accuracy import Accuracy, accuracy_of
from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import Forecast, PlannedWork
from shared.forecast.past import MeasuredSpeed, Past, PastJob
from shared.job_spec import JobSpec
from shared.store.forecasts import StoredForecast
from shared.store.store import Store
from shared.store.stored import StoredJob
from tui.services.dataset_check import CheckedFile
from tui.services.estimate import forecast_on_host, place_on_host
from tui.services.hosts.names import RUNPOD
from tui.services.memory_check import known_facts, predict, room_on
from tui.services.model_shapes import model_shape
from tui.services.settled_forecasts import settle_forecast
from tui.services.speed import observed_speed
from tui.services.training_plan import plan_training

_SAME_TOKENS = ("dataset", "base_model", "cut_targets", "over_long")
_SAME_SPLIT = ("max_seq_length", "eval_fraction", "seed")
"""Where these are the same, so are the tokens of an epoch."""


async def past_of(
    store: Store, base_model: str, host: str = RUNPOD, revision: str | None = None
) -> Past:
    """What is known for the forecast of a job with this model on this host.

    Raises:
        StoreError: the store cannot be read.
    """
    jobs = _past_jobs(await store.forecasts.all())
    seen = None if host == RUNPOD else await observed_speed(store, base_model, host)
    return Past(
        jobs=tuple(job for job in jobs if job.actual.corrects),
        speed=None if seen is None else MeasuredSpeed(seen.tokens_per_s, seen.job_id),
        cached_on=frozenset(await store.cached_models.volumes_with(base_model, revision)),
    )


async def history(store: Store, base_model: str, machine: str) -> list[PastJob]:
    """Unbroken past jobs with this model on this GPU type or host, newest first."""
    return [
        job
        for job in _past_jobs(await store.forecasts.all())
        if job.actual.corrects
        and job.actual.machine == machine
        and job.forecast.work.base_model == base_model
    ]


async def accuracy(store: Store, since: datetime | None = None) -> Accuracy:
    """How good the forecasts were that were made since then; settles what is still open."""
    for stored in await store.forecasts.all(since):
        if stored.actual is None:
            await settle_forecast(store, stored.job_id)
    return accuracy_of(_past_jobs(await store.forecasts.all(since)))


async def forecast_for_start(
    store: Store, checked: CheckedFile, spec: JobSpec, host: str
) -> Forecast | None:
    """Of a job on a machine of the user's own; None where the file was not counted.

    Raises:
        StoreError: the store cannot be read.
    """
    if checked.outline is None:
        return None
    found = await asyncio.to_thread(model_shape, spec.base_model, spec.base_model_revision, host)
    plan = await asyncio.to_thread(plan_training, checked.outline, spec.hyperparameters)
    facts = await known_facts(store, host)
    memory = predict(spec, found, plan, room_on(facts, spec.num_gpus))
    past = await past_of(store, spec.base_model, host)
    return forecast_on_host(spec, plan, found.shape, memory, host, facts, past)


async def keep_forecast(store: Store, job_id: str, foreseen: Forecast | None) -> None:
    """Write down what is foreseen of a job that was just started; the first one stays."""
    if foreseen is not None:
        await store.forecasts.put(job_id, foreseen, utc_now())


async def keep_forecast_again(
    store: Store, earlier: StoredJob, spec: JobSpec, host: str | None = None
) -> None:
    """`keep_forecast` of a job that does an earlier one's work once more."""
    await keep_forecast(store, spec.job_id, await forecast_again(store, earlier, spec, host))


async def forecast_again(
    store: Store, earlier: StoredJob, spec: JobSpec, host: str | None = None
) -> Forecast | None:
    """Of a job that does an earlier one's work once more; None where its tokens are not known.

    `host` is a machine of the user's own; None: where, or on what, the earlier one was foreseen.

    Raises:
        StoreError: the store cannot be read.
    """
    stored = await store.forecasts.get(earlier.job_id)
    if stored is None or not _has_same_tokens(earlier.spec, spec):
        return None
    place = stored.forecast.place.model_copy(update={"num_gpus": spec.num_gpus})
    if host is None:
        host = RUNPOD if place.is_rented else earlier.host
    past = await past_of(store, spec.base_model, host, spec.base_model_revision)
    if host != RUNPOD:
        place = place_on_host(spec, host, await known_facts(store, host), past)
    work = _work_again(stored.forecast.work, earlier.spec, spec)
    return forecast(work, place, past, stored.forecast.peak_bytes)


def _past_jobs(stored: Iterable[StoredForecast]) -> list[PastJob]:
    return [
        PastJob(each.job_id, each.forecast, each.actual)
        for each in stored
        if each.actual is not None
    ]


def _has_same_tokens(earlier: JobSpec, spec: JobSpec) -> bool:
    before, after = earlier.hyperparameters, spec.hyperparameters
    return all(getattr(earlier, name) == getattr(spec, name) for name in _SAME_TOKENS) and all(
        getattr(before, name) == getattr(after, name) for name in _SAME_SPLIT
    )


def _work_again(work: PlannedWork, earlier: JobSpec, spec: JobSpec) -> PlannedWork:
    before, after = earlier.hyperparameters, spec.hyperparameters
    each_epoch = work.total_steps / max(before.num_epochs, 1)
    steps = each_epoch * after.num_epochs * before.targets_per_step / after.targets_per_step
    before_first_step = 0 if spec.resume_from else 1
    return work.model_copy(
        update={
            "num_epochs": after.num_epochs,
            "total_steps": 1 if spec.dry_run else max(round(steps), 1),
            "evaluations": 0 if spec.dry_run else before_first_step + after.num_epochs,
            "dry_run": spec.dry_run,
            "first_step": spec.resume_from.step if spec.resume_from else 0,
        }
    )
