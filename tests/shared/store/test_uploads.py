"""Files on their way to Supabase Storage, as the store remembers them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.store.store import Store
from shared.store.uploads import ArtifactType, PlannedUpload, UploadState, at_agent
from tests.shared.store.journal import completed_job, job_spec

HERE, ELSEWHERE = "https://one.example#public", "https://two.example#public"
WEIGHTS = PlannedUpload(
    object_name="jobs/web/0123456789abcdef/adapter_model.safetensors",
    training_job_id="job-one",
    attempt=1,
    artifact_type=ArtifactType.LORA_ADAPTER,
    file_name="adapter_model.safetensors",
    sha256="a" * 64,
    size_bytes=1000,
    content_type="application/octet-stream",
    source="/home/adapters/job-one/adapter/adapter_model.safetensors",
)
CARD = replace(
    WEIGHTS,
    object_name="jobs/web/0123456789abcdef/README.md",
    artifact_type=ArtifactType.FILE,
    file_name="README.md",
)


@pytest.fixture
async def with_job(store: Store) -> Store:
    """A completed job with a verified adapter, and one that runs."""
    for job_id in ("job-one", "job-two"):
        await store.add_job(job_spec(job_id), "local")
    await store.apply_records("job-one", completed_job())
    return store


async def test_what_is_planned_waits_and_is_planned_once(with_job: Store) -> None:
    uploads = with_job.uploads
    await uploads.plan(HERE, [CARD, WEIGHTS])
    await uploads.note(WEIGHTS.object_name, UploadState.UPLOADING, sent_bytes=400, bytes_per_s=9.0)

    await uploads.plan(HERE, [CARD, replace(WEIGHTS, source=at_agent("adapter/x"))])

    weights, card = await uploads.of_job("job-one")
    assert (card.state, card.sent_bytes) == (UploadState.WAITING, 0)
    assert (weights.state, weights.sent_bytes) == (UploadState.UPLOADING, 400)
    assert (weights.agent_path, weights.local_path) == ("adapter/x", None)


async def test_another_project_has_nothing_of_what_was_uploaded(with_job: Store) -> None:
    uploads = with_job.uploads
    await uploads.plan(HERE, [WEIGHTS])
    await uploads.note(WEIGHTS.object_name, UploadState.VERIFIED, sent_bytes=1000)

    assert await uploads.verified(ELSEWHERE) == []
    await uploads.plan(ELSEWHERE, [WEIGHTS])

    [moved] = await uploads.of_job("job-one", ELSEWHERE)
    assert (moved.state, moved.sent_bytes) == (UploadState.WAITING, 0)
    assert await uploads.of_job("job-one", HERE) == []


async def test_what_is_verified_stays_so_whatever_a_slower_one_says(with_job: Store) -> None:
    uploads = with_job.uploads
    await uploads.plan(HERE, [WEIGHTS])
    await uploads.note(WEIGHTS.object_name, UploadState.VERIFIED, sent_bytes=1000)
    await uploads.note(WEIGHTS.object_name, UploadState.UPLOADING, sent_bytes=3, error="late")
    await uploads.plan(HERE, [WEIGHTS])

    [upload] = await uploads.verified(HERE, ["job-one"])
    assert (upload.sent_bytes, upload.error) == (1000, "")
    assert await uploads.verified(HERE, ["job-two"]) == []


@pytest.mark.parametrize("state", [UploadState.REFUSED, UploadState.REMOVED])
async def test_what_was_refused_or_removed_comes_back_only_when_it_is_asked_for(
    with_job: Store, state: UploadState
) -> None:
    uploads = with_job.uploads
    await uploads.plan(HERE, [WEIGHTS])
    if state is UploadState.REMOVED:
        await uploads.note(WEIGHTS.object_name, UploadState.VERIFIED)
        await uploads.forget(WEIGHTS.object_name)
    else:
        await uploads.note(WEIGHTS.object_name, state, error="no")
    assert await uploads.jobs_with_work(HERE) == []

    await uploads.plan(HERE, [WEIGHTS])
    assert await uploads.jobs_with_work(HERE) == ["job-one"]


async def test_only_jobs_that_have_ended_have_something_to_upload(with_job: Store) -> None:
    uploads = with_job.uploads
    other = replace(WEIGHTS, object_name="jobs/other/0/x", training_job_id="job-two")
    await uploads.plan(HERE, [WEIGHTS, other])
    assert await uploads.jobs_with_work(HERE) == ["job-one"]
    assert await uploads.jobs_with_work(ELSEWHERE) == []


async def test_completed_jobs_of_which_nothing_was_planned_are_found(with_job: Store) -> None:
    uploads = with_job.uploads
    assert await uploads.jobs_without(HERE, "README.md") == ["job-one"]
    await uploads.plan(HERE, [CARD])
    assert await uploads.jobs_without(HERE, "README.md") == []
    assert await uploads.jobs_without(HERE, "run_report.json") == ["job-one"]
    assert await uploads.jobs_without(ELSEWHERE, "README.md") == ["job-one"]
