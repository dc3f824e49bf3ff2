"""The quantised copy that a job trains from: found, made or left out, and written down.

One process of each machine decides, before the others load anything. What it chose stands in the
attempt's `base-model.json`, so that its replicas and the verifier afterwards load the same weights,
whatever the hub's branch says by then.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from agent.run_directory import AttemptDirectory, AttemptSpec
from agent.trainer.event_writer import EventWriter
from agent.trainer.model_cache import copies, sources
from agent.trainer.model_cache.fill import Ready, Recipe, ensure_copy
from agent.trainer.model_cache.quantise import NotCacheable
from agent.trainer.model_cache.sources import Source
from agent.trainer.models.base_model import BaseModelLocation, compute_dtype, locate, nf4
from shared import events
from shared.errors import DownloadFailed, InvalidBaseModel
from shared.job_spec import JobSpec
from shared.lifecycle import Activity, JobStatus
from shared.manifest import MANIFEST_NAME, file_sha256, write_atomic
from shared.model_cache import SMALLEST_AUTO_BYTES, CachePlace, is_commit, local_commit
from shared.number_text import duration, size

_PACKAGES = ("torch", "transformers", "bitsandbytes", "safetensors")


def recipe() -> Recipe:
    """How this machine quantises."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return Recipe(nf4(), compute_dtype(), versions)


def source_of(base_model: str, revision: str | None, directory: Path | None) -> Source:
    """Where the weights of a model come from; `directory` where they lie here.

    Raises:
        InvalidBaseModel, DownloadFailed: see `sources.on_hub`.
    """
    if directory is None:
        return sources.on_hub(base_model, revision)
    if not directory.is_dir():
        raise InvalidBaseModel(f"{directory}: is no directory.")
    return sources.in_directory(base_model, directory, local_commit(_content_sha256(directory)))


def choose(directory: AttemptDirectory, spec: AttemptSpec, writer: EventWriter) -> None:
    """Find or make the copy for this attempt, and write down which it is.

    Raises:
        InvalidBaseModel, DownloadFailed, NotEnoughDisk: see `shared.errors`.
    """
    job = spec.job
    location = locate(job.base_model, job.base_model_revision, spec.models_directory)
    place = _place(job, location, spec.models_directory, writer)
    chosen = None if place is None else str(place.copy)
    write_atomic(directory.base_model_path, json.dumps({"copy": chosen}))


def chosen(directory: AttemptDirectory, spec: AttemptSpec) -> BaseModelLocation:
    """Where this attempt loads its base model from, as `choose` has it."""
    job = spec.job
    location = locate(job.base_model, job.base_model_revision, spec.models_directory)
    try:
        copy = json.loads(directory.base_model_path.read_bytes())["copy"]
    except FileNotFoundError:  # An attempt of a version without copies.
        return location
    return location if copy is None else replace(location, copy=Path(copy))


def loading(copy: Path) -> events.ModelProgress:
    """What is said while the copy is loaded: transformers does not tell how far it is."""
    total = sum(path.stat().st_size for path in copy.glob("*.safetensors"))
    return events.ModelProgress(what="loading", done_bytes=0, total_bytes=total)


def _place(
    job: JobSpec, location: BaseModelLocation, models: Path, writer: EventWriter
) -> CachePlace | None:
    """The complete copy to load; None where the model is loaded as it is."""
    here = Path(location.name_or_path)
    if job.model_cache == "off" or (job.model_cache == "auto" and here.is_dir()):
        return None

    def say(progress: events.ModelProgress) -> None:
        writer.write(progress)

    source = _source(job, here if here.is_dir() else None, models, writer)
    if isinstance(source, CachePlace):
        return source
    if job.model_cache == "auto" and source.weights_bytes < SMALLEST_AUTO_BYTES:
        return None
    place = CachePlace(models, source.base_model, source.commit)
    if not place.copy.is_dir():
        writer.write(
            events.StageEntered(
                status=JobStatus.PREPROCESSING,
                activity=Activity.DOWNLOADING_MODEL,
                detail=job.base_model,
            )
        )
    try:
        ready = ensure_copy(models, source, recipe(), say)
    except NotCacheable as error:
        _log(writer, "info", f"No quantised copy of the base model is kept: {error}.")
        return None
    _tell(ready, writer)
    return ready.place


def _source(
    job: JobSpec, here: Path | None, models: Path, writer: EventWriter
) -> Source | CachePlace:
    """Where the weights come from; the copy itself where the hub does not answer."""
    try:
        return source_of(job.base_model, job.base_model_revision, here)
    except (InvalidBaseModel, DownloadFailed) as error:
        place = _without_hub(job, models)
        if place is None:
            raise
        _log(
            writer,
            "warning",
            f"{error} The copy of commit {place.commit} that lies here is used.",
        )
        return place


def _without_hub(job: JobSpec, models: Path) -> CachePlace | None:
    """A complete copy of what was asked for whose hashes hold; the last used one of several."""
    wanted = job.base_model_revision
    found = [
        entry
        for entry in copies.list_copies(models, job.base_model)
        if entry.is_complete
        and entry.base_model == job.base_model
        and (entry.revision == wanted if is_commit(wanted) else entry.requested_revision == wanted)
    ]
    for entry in sorted(found, key=lambda item: str(item.last_used_at), reverse=True):
        place = CachePlace(models, entry.base_model, entry.revision)
        if not copies.damaged_files(place.copy, copies.read_manifest(place.copy)["files"]):
            copies.touch_used(place)
            return place
    return None


def _tell(ready: Ready, writer: EventWriter) -> None:
    facts = copies.read_facts(ready.place.copy / MANIFEST_NAME)
    entry = copies.describe(ready.place)
    at = f"{entry.base_model} at {entry.revision} ({size(entry.size_bytes)})"
    if ready.mended:
        files = ", ".join(ready.mended)
        _log(writer, "warning", f"The copy of {at} was damaged; made anew: {files}.")
    how = "was here already" if ready.was_there else "is kept for the next job"
    taken = f"in {duration(ready.seconds)}"
    fetched = f", {size(ready.downloaded_bytes)} downloaded" if ready.downloaded_bytes else ""
    _log(writer, "info", f"The quantised copy of {at} {how}: ready {taken}{fetched}.")
    if facts.compute_dtype != str(compute_dtype()) and not facts.is_exact_in_bf16:
        _log(
            writer,
            "warning",
            f"The copy was quantised from {facts.compute_dtype} and this machine computes in "
            f"{compute_dtype()}: its weights are rounded otherwise than here.",
        )


def _log(writer: EventWriter, level: str, message: str) -> None:
    writer.write(events.LogLine.model_validate({"level": level, "message": message}))


def _content_sha256(directory: Path) -> str:
    """Of every byte that decides what is loaded: the same name may hold other weights tomorrow."""
    paths = [directory / "config.json", *sorted(directory.glob("*.safetensors"))]
    there = [path for path in paths if path.is_file()]
    with ThreadPoolExecutor(copies.MOST_THREADS) as pool:
        hashes = list(pool.map(file_sha256, there))
    named = "".join(f"{path.name} {sha256}\n" for path, sha256 in zip(there, hashes, strict=True))
    return hashlib.sha256(named.encode()).hexdigest()
