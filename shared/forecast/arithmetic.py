"""From what is to be done, where, and what earlier jobs took there, to the forecast of a job. Pure.

Each part goes by earlier jobs where there are any, and else by arithmetic on what is assumed.
"""

from __future__ import annotations

from shared.forecast import assumed
from shared.forecast.assumed import ASSUMED, transfer
from shared.forecast.forecast import Forecast, Part, PartName, Place, PlannedWork, Span
from shared.forecast.past import Known, Past, PastJob, seconds_of, seconds_per_token, spread
from shared.number_text import size
from shared.training_time import FORWARD_SHARE, UTILISATION, estimated_time

_NOTHING = Span.exactly(0.0)
_UNKNOWN_MODEL = "the base model's size is unknown"


def forecast(
    work: PlannedWork, place: Place, past: Past | None = None, peak_bytes: int | None = None
) -> Forecast:
    """All parts of the job, in order."""
    past = past or Past()
    alike = past.alike(work.base_model, place)
    there = past.on_provider(place)
    parts = (
        _machine(place, there),
        _install(place, there),
        _model(work, place, alike),
        _load(work, place, alike),
        _training(work, place, past, alike),
        _evaluation(work, place, past, alike),
        _saving(work, place, alike),
        _home(work, place, there),
    )
    return Forecast(work=work, place=place, parts=parts, peak_bytes=peak_bytes)


def _part(name: PartName, known: Known | None, seconds: Span | None, source: str) -> Part:
    """By earlier jobs, or as assumed."""
    if known is not None:
        return Part(name=name, seconds=known.span, source=known.source)
    return Part(name=name, seconds=seconds, source=source)


def _where(place: Place) -> str:
    return f"{place.num_gpus} x {place.machine}" if place.num_gpus > 1 else place.machine


def _machine(place: Place, there: list[PastJob]) -> Part:
    if not place.is_rented:
        return Part(name=PartName.MACHINE, seconds=_NOTHING, source="it is there")
    known = seconds_of(there, PartName.MACHINE, "rented machines")
    return _part(PartName.MACHINE, known, assumed.MACHINE, ASSUMED)


def _install(place: Place, there: list[PastJob]) -> Part:
    if not place.is_rented:
        source = "not counted: before the job is handed over"
        return Part(name=PartName.INSTALL, seconds=_NOTHING, source=source)
    known = seconds_of(there, PartName.INSTALL, "rented machines")
    return _part(PartName.INSTALL, known, assumed.INSTALL, ASSUMED)


def _model(work: PlannedWork, place: Place, alike: list[PastJob]) -> Part:
    same_source = [
        job
        for job in alike
        if (job.actual.model_source or job.forecast.place.model_source) == place.model_source
    ]
    known = seconds_of(same_source, PartName.MODEL, _where(place))
    return _part(PartName.MODEL, known, *_model_assumed(work, place))


def _model_assumed(work: PlannedWork, place: Place) -> tuple[Span | None, str]:
    if place.model_source == "local":
        return assumed.AT_HAND, "assumed: it is on the machine's disk"
    if work.published_bytes is None or work.quantized_bytes is None:
        return None, _UNKNOWN_MODEL
    if place.model_source == "cache":
        rate = assumed.VOLUME_BYTES_PER_S
        words = f"{size(work.quantized_bytes)} are checked on the volume at {rate}"
        return transfer(work.quantized_bytes, rate), f"{words}, {ASSUMED}"
    rate = assumed.DOWNLOAD_BYTES_PER_S
    words = f"{size(work.published_bytes)} are downloaded at {rate}"
    return transfer(work.published_bytes, rate), f"{words}, {ASSUMED}"


def _load(work: PlannedWork, place: Place, alike: list[PastJob]) -> Part:
    known = seconds_of(alike, PartName.LOAD, _where(place))
    loaded = _read(work, place)
    seconds = None if loaded is None else assumed.TRAINER_START + loaded
    source = f"the trainer starts and reads the model, {ASSUMED}"
    return _part(PartName.LOAD, known, seconds, _UNKNOWN_MODEL if seconds is None else source)


def _read(work: PlannedWork, place: Place) -> Span | None:
    """Seconds in which the base model goes from the disk to where it is used."""
    size_bytes = work.published_bytes if place.model_source == "local" else work.quantized_bytes
    return None if size_bytes is None else transfer(size_bytes, assumed.DISK_BYTES_PER_S)


def _training(work: PlannedWork, place: Place, past: Past, alike: list[PastJob]) -> Part:
    name = PartName.TRAINING
    if work.dry_run:
        return Part(name=name, seconds=_NOTHING, source="a dry run takes one optimizer step")
    known = seconds_per_token(alike, name, lambda job: job.actual.tokens, _where(place))
    if known is not None:
        return Part(name=name, seconds=known.span.times(work.tokens), source=known.source)
    seconds, source = _through_model(work, place, past, work.tokens)
    return Part(name=name, seconds=seconds, source=source)


def _evaluation(work: PlannedWork, place: Place, past: Past, alike: list[PastJob]) -> Part:
    name, tokens = PartName.EVALUATION, work.evaluation_tokens
    if work.dry_run or not tokens:
        return Part(name=name, seconds=_NOTHING, source="nothing is held out")
    known = seconds_per_token(
        alike, name, lambda job: job.forecast.work.evaluation_tokens, _where(place)
    )
    if known is not None:
        return Part(name=name, seconds=known.span.times(tokens), source=known.source)
    seconds, source = _through_model(work, place, past, tokens * FORWARD_SHARE)
    return Part(name=name, seconds=seconds, source=source)


def _through_model(
    work: PlannedWork, place: Place, past: Past, tokens: float
) -> tuple[Span | None, str]:
    """Seconds and source of the arithmetic that training so many tokens takes."""
    if past.speed is not None:
        seconds = tokens / past.speed.tokens_per_s
        return spread([seconds]), f"the speed of {past.speed.job_id}"
    if work.flops_per_token is None:
        return None, _UNKNOWN_MODEL
    if place.dense_tflops is None:
        return None, f"no earlier job with this model was measured on {_where(place)}"
    low, _, high = UTILISATION
    flops = tokens * work.flops_per_token
    span = estimated_time(flops, place.dense_tflops, place.num_gpus)
    return span, f"assumed: {low * 100:.0f} to {high * 100:.0f} % of the peak of {_where(place)}"


def _saving(work: PlannedWork, place: Place, alike: list[PastJob]) -> Part:
    if work.dry_run:
        return Part(name=PartName.SAVING, seconds=_NOTHING, source="a dry run saves nothing")
    known = seconds_of(alike, PartName.SAVING, _where(place))
    loaded = _read(work, place)
    if loaded is None:
        return _part(PartName.SAVING, known, None, _UNKNOWN_MODEL)
    seconds = assumed.TRAINER_START + loaded + assumed.GENERATE
    source = f"another process loads model and adapter, {ASSUMED}"
    return _part(PartName.SAVING, known, seconds, source)


def _home(work: PlannedWork, place: Place, there: list[PastJob]) -> Part:
    if not place.is_rented:
        return Part(name=PartName.HOME, seconds=_NOTHING, source="it stays where it is")
    known = seconds_of(there, PartName.HOME, "rented machines")
    if work.dry_run:
        return _part(PartName.HOME, None, assumed.END_OF_MACHINE, ASSUMED)
    adapter_bytes = work.adapter_bytes or assumed.ADAPTER_BYTES
    rate = assumed.HOME_BYTES_PER_S
    seconds = transfer(adapter_bytes, rate) + assumed.END_OF_MACHINE
    words = f"{size(adapter_bytes)} at {rate}, then the machine ends, {ASSUMED}"
    return _part(PartName.HOME, known, seconds, words)
