"""Makes a version of what a job has made, with the name of the model that it belongs to.

Reads and writes the store; asks no machine.
"""

from __future__ import annotations

from shared.errors import UnknownJob
from shared.events import utc_now
from shared.lifecycle import JobStatus
from shared.model_version import ModelVersion, VersionFacts, model_name_of, version_id
from shared.store.model_versions import NewVersion
from shared.store.store import Store
from shared.store.stored import StoredArtifact, StoredJob
from shared.sweep import all_settings
from shared.web_id import web_job_id
from tui.services.comparison import compare

_LONGEST_LINEAGE = 1000
"""Retries of retries; only a damaged store has a circle."""


async def keep_version(store: Store, job_id: str) -> ModelVersion | None:
    """Make a version of what the job has made; None where that is no verified adapter.

    Called where a job ends, and for jobs that ended before; called again, it changes nothing.

    Raises:
        StoreError: the store cannot be read or written.
    """
    job = await store.get_job(job_id)
    if job.status is not JobStatus.COMPLETED or not job.state.adapter_verified:
        return None
    artifacts = await store.artifacts(job_id)
    if not artifacts:
        return None
    artifact = artifacts[0]
    of_web = web_job_id(await store.rentals.mark(), job_id)
    new = NewVersion(
        version_id(of_web, artifact.attempt),
        await model_name_for(store, job),
        job_id,
        artifact.attempt,
        artifact.manifest_sha256,
        await _facts(store, job, artifact),
        artifact.created_at,
    )
    version, _ = await store.models.add(new)
    return version


async def model_name_for(store: Store, job: StoredJob) -> str:
    """Of the model that the job's adapter is a version of.

    A retry belongs to the model of what it tries again, also where that was renamed; the jobs of a
    sweep are versions of one model, which has the sweep's name.
    """
    for _ in range(_LONGEST_LINEAGE):
        if versions := await store.models.of_job(job.job_id):
            return versions[0].model_name
        if job.retry_of is None:
            break
        try:
            job = await store.get_job(job.retry_of)
        except UnknownJob:
            break
    if job.sweep_id is not None and (sweep := await store.sweeps.get(job.sweep_id)) is not None:
        return model_name_of(sweep.name)
    return model_name_of(job.spec.name)


async def _facts(store: Store, job: StoredJob, artifact: StoredArtifact) -> VersionFacts:
    compared = (await compare(store, [job], utc_now())).jobs[0]
    eval_loss = compared.eval_loss if artifact.eval_loss is None else artifact.eval_loss
    perplexity = compared.perplexity if artifact.perplexity is None else artifact.perplexity
    return VersionFacts(
        job_name=job.spec.name,
        base_model=artifact.base_model,
        base_model_revision=artifact.base_model_revision,
        dataset_name=job.spec.dataset.file_name,
        dataset_sha256=job.spec.dataset.sha256,
        settings=all_settings(job.spec),
        lora_config=artifact.lora_config,
        host=job.host,
        path=artifact.path,
        size_bytes=artifact.size_bytes,
        steps=job.state.step,
        loss=job.state.loss,
        eval_loss_before=compared.eval_loss_before,
        eval_loss=eval_loss,
        perplexity=perplexity,
        tokens_per_s=compared.tokens_per_s,
        hours=compared.hours,
        cost_usd=compared.cost_usd,
    )
