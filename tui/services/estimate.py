"""What a job would take and cost, from its settings, its training file and what is known so far.

Arithmetic only: earlier jobs, prices and what machines tell of themselves are handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from shared.agent_protocol import MachineFacts
from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import Forecast, ModelSource, Place, PlannedWork
from shared.forecast.past import Past
from shared.job_spec import JobSpec
from shared.machine_request import Candidate
from shared.memory.cards import CARDS
from shared.model_shape import BUILT_SHAPES, ModelShape
from shared.training_time import flops_per_token
from tui.services.memory_check import Prediction
from tui.services.model_cache.room import copy_bytes
from tui.services.providers.runpod.gpu_names import gpu_type_of
from tui.services.training_plan import TrainingPlan

WARN_ABOVE_USD = 100.0
WARN_ABOVE_HOURS = 24.0

PUBLISHED_BYTES_PER_WEIGHT = 2
"""Base models are published in 16 bits."""
_ADAPTER_BYTES_PER_WEIGHT = 2
"""Adapters are saved in bf16."""


@dataclass(frozen=True, slots=True)
class Volume:
    """The network volume of a machine that is to be rented."""

    volume_id: str | None
    """None for one that is to be made."""
    usd_per_month: float | None


def planned_work(
    spec: JobSpec, plan: TrainingPlan, shape: ModelShape | None, memory: Prediction | None = None
) -> PlannedWork:
    """What the job does, wherever it runs."""
    epochs = spec.hyperparameters.num_epochs
    before_first_step = 0 if spec.resume_from else 1
    need = None if memory is None else memory.need
    return PlannedWork(
        base_model=spec.base_model,
        tokens_per_epoch=plan.tokens_per_epoch,
        num_epochs=epochs,
        total_steps=1 if spec.dry_run else plan.total_steps,
        held_out_tokens=plan.held_out_tokens,
        evaluations=0 if spec.dry_run else before_first_step + epochs,
        flops_per_token=shape and flops_per_token(shape),
        published_bytes=shape and shape.parameters * PUBLISHED_BYTES_PER_WEIGHT,
        quantized_bytes=shape and copy_bytes(shape),
        adapter_bytes=need and need.plan.lora_parameters * _ADAPTER_BYTES_PER_WEIGHT,
        dry_run=spec.dry_run,
        first_step=spec.resume_from.step if spec.resume_from else 0,
    )


def forecast_on_host(
    spec: JobSpec,
    plan: TrainingPlan,
    shape: ModelShape | None,
    memory: Prediction | None,
    host: str,
    facts: MachineFacts | None = None,
    past: Past | None = None,
) -> Forecast:
    """On a machine of the user's own, by what it told of itself last."""
    place = place_on_host(spec, host, facts, past)
    return forecast(planned_work(spec, plan, shape, memory), place, past, _peak_bytes(memory))


def place_on_host(
    spec: JobSpec, host: str, facts: MachineFacts | None = None, past: Past | None = None
) -> Place:
    """A machine of the user's own, by what it told of itself last."""
    place = Place(machine=host, num_gpus=spec.num_gpus, dense_tflops=_tflops_of(facts))
    return place.model_copy(update={"model_source": _source_here(spec.base_model, place, past)})


def forecast_on_gpu(
    spec: JobSpec,
    plan: TrainingPlan,
    shape: ModelShape | None,
    memory: Prediction | None,
    gpu_type: str,
    usd_per_hour: float | None = None,
    past: Past | None = None,
    volume: Volume | None = None,
) -> Forecast:
    """On a rented machine with GPUs of this type; the price is that of the whole machine."""
    place = Place(
        machine=gpu_type,
        is_rented=True,
        num_gpus=spec.num_gpus,
        dense_tflops=CARDS[gpu_type].dense_tflops,
        model_source=_source_on_volume(spec.base_model, volume, past),
        usd_per_hour=usd_per_hour,
        volume_usd_per_month=None if volume is None else volume.usd_per_month,
    )
    return forecast(planned_work(spec, plan, shape, memory), place, past, _peak_bytes(memory))


def forecast_on_offer(
    spec: JobSpec,
    plan: TrainingPlan,
    shape: ModelShape | None,
    memory: Prediction | None,
    offer: Candidate,
    past: Past | None = None,
    volume: Volume | None = None,
) -> Forecast:
    """On a machine that the catalogue offers."""
    price = offer.usd_per_hour
    return forecast_on_gpu(spec, plan, shape, memory, offer.gpu_type, price, past, volume)


def amount_warnings(forecast: Forecast) -> list[str]:
    """Much money, or many hours; sentences."""
    lines = []
    hours, cost = forecast.hours, forecast.cost_usd
    if cost is not None and cost.worst > WARN_ABOVE_USD:
        lines.append(f"It may cost up to ${cost.worst:,.2f}: more than ${WARN_ABOVE_USD:,.0f}.")
    if hours is not None and hours.worst > WARN_ABOVE_HOURS:
        lines.append(f"It may take up to {hours.worst:,.1f} h: more than {WARN_ABOVE_HOURS:g} h.")
    return lines


def _peak_bytes(memory: Prediction | None) -> int | None:
    return None if memory is None or memory.need is None else memory.need.plan.peak_bytes


def _tflops_of(facts: MachineFacts | None) -> float | None:
    """Of the weakest of its GPUs; None where there is none, or one that nobody knows."""
    names: Iterable[str] = () if facts is None else (gpu.name for gpu in facts.gpus)
    types = [gpu_type_of(name) for name in names]
    peaks = [CARDS[name].dense_tflops if name else None for name in types]
    known = [peak for peak in peaks if peak is not None]
    return min(known) if known and len(known) == len(peaks) else None


def _source_here(base_model: str, place: Place, past: Past | None) -> ModelSource:
    """What a machine of the user's own has once had, it has still."""
    alike = past.alike(base_model, place) if past else []
    if alike:
        return alike[0].actual.model_source or "local"
    return _published(base_model)


def _source_on_volume(base_model: str, volume: Volume | None, past: Past | None) -> ModelSource:
    if volume is not None and past is not None and volume.volume_id in past.cached_on:
        return "cache"
    return _published(base_model)


def _published(base_model: str) -> ModelSource:
    """Models that we make ourselves, and those in a directory, are not downloaded."""
    is_here = base_model in BUILT_SHAPES or PurePath(base_model).is_absolute()
    return "local" if is_here else "download"
