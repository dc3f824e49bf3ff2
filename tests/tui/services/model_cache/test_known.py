"""What jobs tell of the base models on their volumes is remembered for the next ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared.events import Event, ModelProgress
from shared.store.cached_models import ModelOnVolume
from shared.store.store import Store, open_store
from shared.store.stored import StoredJob
from tests.shared.store.journal import BEGIN, job_spec, journal
from tests.tui import rented
from tests.tui.services.rental_work import work
from tui.services.hub_models import HubModel
from tui.services.model_cache.known import note_from_job
from tui.services.model_cache.taken import with_taken

COMMIT = "c" * 40
LOADING = ModelProgress(what="loading", done_bytes=0, total_bytes=39_500_000_000)


async def a_job(store: Store, *events: Event, revision: str | None = COMMIT) -> StoredJob:
    spec = job_spec("job-rent", base_model="org/llama", base_model_revision=revision)
    job, _ = await store.add_job(spec, "runpod:job-rent", None, rented.request())
    await store.apply_records(spec.job_id, journal(*events, job_id=spec.job_id))
    return job


async def test_a_job_that_loaded_a_copy_leaves_it_on_its_volume(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store.db") as store:
        downloading = ModelProgress(what="downloading", done_bytes=1, total_bytes=2)
        job = await a_job(store, downloading, LOADING)

        await note_from_job(store, job, rented.request())

        [known] = await store.cached_models.all()
        assert (known.volume_id, known.base_model) == ("vol-1", "org/llama")
        assert (known.revision, known.size_bytes) == (COMMIT, 39_500_000_000)


@pytest.mark.parametrize(
    ("events", "revision", "volume"),
    [
        ((), COMMIT, "vol-1"),
        ((ModelProgress(what="quantising", done_bytes=1, total_bytes=2),), COMMIT, "vol-1"),
        ((LOADING,), None, "vol-1"),
        ((LOADING,), "main", "vol-1"),
        ((LOADING,), COMMIT, None),
    ],
)
async def test_what_is_not_certain_is_not_remembered(
    tmp_path: Path, events: tuple[Event, ...], revision: str | None, volume: str | None
) -> None:
    async with open_store(tmp_path / "store.db") as store:
        job = await a_job(store, *events, revision=revision)
        await note_from_job(store, job, rented.request(network_volume_id=volume))
        assert await store.cached_models.all() == []


async def test_other_models_take_room_and_the_jobs_own_does_not(tmp_path: Path) -> None:
    spec = job_spec(base_model="org/llama")
    job = replace(work(), spec=spec)
    hub = HubModel("org/llama", COMMIT, (("model.safetensors", 1),))
    frozen = replace(job, found=replace(job.found, hub=hub))
    async with open_store(tmp_path / "store.db") as store:
        for base_model, revision, size in (
            ("org/llama", COMMIT, 40),
            ("org/llama", "d" * 40, 3),
            ("org/other", COMMIT, 2),
            ("org/third", COMMIT, None),
        ):
            known = ModelOnVolume("vol-1", base_model, revision, size, BEGIN)
            await store.cached_models.put(known)
        assert (await with_taken(store, job)).taken_bytes == {"vol-1": 2}
        assert (await with_taken(store, frozen)).taken_bytes == {"vol-1": 5}
