"""Finds what of a job is to go up, and where it lies.

The adapter is on this machine where it was trained here or brought home, else with the job's agent;
log, metrics and report are written here. Nothing is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from shared.agent_protocol import ArtifactFile, ArtifactList
from shared.errors import AgentError, IntegrityError, InvalidInput
from shared.manifest import MANIFEST_NAME, file_sha256, manifest_sha256, write_atomic
from shared.redaction import redact
from shared.store.stored import StoredJob
from shared.store.uploads import ArtifactType, PlannedUpload, at_agent
from shared.web_id import web_job_id
from tui.services.artifact_uploads import job_files
from tui.services.artifact_uploads.object_names import FoundFile, Owner, plan_file, plan_folder
from tui.services.brought_home import adapter_at_home, why_not_here
from tui.services.hosts.names import LOCAL
from tui.services.kept_logs import keep_log, log_path
from tui.services.rented_jobs import request_of
from tui.services.session import Session

_MADE_HERE = "uploads"
"""Directory of our home for what is written for the web application."""


async def owner_of(session: Session, job: StoredJob) -> Owner:
    """Under which names the job's files go up."""
    web_id = web_job_id(await session.store.rentals.mark(), job.job_id)
    return Owner(job.job_id, web_id, owner_attempt(job))


async def adapter_files(session: Session, job: StoredJob) -> list[PlannedUpload]:
    """The verified adapter, wherever it is.

    Raises:
        InvalidInput: there is none, or it is where nobody can read it now; says what to do.
        AgentError: its machine does not answer.
        IntegrityError: what lies there is not the adapter that was verified.
    """
    owner = await owner_of(session, job)
    if not job.state.adapter_verified:
        raise InvalidInput(f"{job.job_id} is {job.status} and has no verified adapter.")
    directory = await adapter_directory(session, job)
    if directory is not None:
        expected = job.state.adapter_manifest_sha256
        return await asyncio.to_thread(
            plan_directory, owner, ArtifactType.LORA_ADAPTER, directory, expected
        )
    if job.state.rented:
        raise InvalidInput(why_not_here(job.job_id, await request_of(session, job)))
    host = session.host_of(job)
    await host.ensure_agent()
    async with host.client() as client:
        listed = await client.artifacts(job.job_id)
    return plan_listed(owner, listed, job.state.adapter_manifest_sha256)


async def adapter_directory(session: Session, job: StoredJob) -> Path | None:
    """The adapter on this machine: where it was trained, or brought to; None where it is not."""
    home = adapter_at_home(session.config, job.job_id)
    if home is not None:
        return await asyncio.to_thread(_only_directory, home)
    if job.host == LOCAL and job.state.adapter_path:
        trained = Path(job.state.adapter_path)
        return trained if (trained / MANIFEST_NAME).is_file() else None
    return None


def plan_directory(
    owner: Owner, kind: ArtifactType, directory: Path, expected_sha256: str | None = None
) -> list[PlannedUpload]:
    """A directory of this machine with a manifest; its bytes are hashed as they go up. Blocks.

    Raises:
        IntegrityError: no manifest, another than was expected, or a file that is not there.
    """
    try:
        manifest = json.loads((directory / MANIFEST_NAME).read_bytes())
        own = manifest_sha256(directory)
        described = {str(name): dict(facts) for name, facts in manifest["files"].items()}
        files = [
            FoundFile(name, facts["sha256"], facts["size_bytes"], str(directory / name))
            for name, facts in described.items()
        ]
        for file in files:
            if (directory / file.name).stat().st_size != file.size_bytes:
                raise IntegrityError(f"{directory / file.name}: is not as the manifest says.")
        size_bytes = (directory / MANIFEST_NAME).stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{directory}: is not a directory with a {MANIFEST_NAME} of ours ({error})."
        ) from error
    _require(own, expected_sha256, str(directory))
    last = FoundFile(MANIFEST_NAME, own, size_bytes, str(directory / MANIFEST_NAME))
    return plan_folder(owner, kind, own, [*files, last])


def plan_listed(
    owner: Owner, listed: ArtifactList, expected_sha256: str | None
) -> list[PlannedUpload]:
    """The adapter as its agent lists it.

    Raises:
        IntegrityError: it is not the one that was verified.
    """
    files = [
        FoundFile(PurePosixPath(file.path).name, file.sha256, file.size_bytes, at_agent(file.path))
        for file in listed.files
    ]
    own = next((file.sha256 for file in files if file.name == MANIFEST_NAME), "")
    _require(own, expected_sha256, f"{owner.job_id}: on its machine")
    return plan_folder(owner, ArtifactType.LORA_ADAPTER, own, files)


def plan_listed_checkpoint(
    owner: Owner, listed: Iterable[ArtifactFile], step: int
) -> list[PlannedUpload]:
    """A checkpoint among the files that an agent could upload.

    Raises:
        InvalidInput: it has none of that step.
    """
    paths = {file: PurePosixPath(file.path) for file in listed}
    of_steps = {
        int(path.parts[1].removeprefix("step-"))
        for path in paths.values()
        if path.parts[0] == "checkpoints"
    }
    files = [
        FoundFile(path.name, file.sha256, file.size_bytes, at_agent(file.path))
        for file, path in paths.items()
        if path.parts[0] == "checkpoints" and int(path.parts[1].removeprefix("step-")) == step
    ]
    own = next((file.sha256 for file in files if file.name == MANIFEST_NAME), None)
    if own is None:
        there = ", ".join(map(str, sorted(of_steps))) or "none"
        raise InvalidInput(f"{owner.job_id}: no checkpoint of step {step} is kept; there: {there}.")
    return plan_folder(owner, ArtifactType.CHECKPOINT, own, files)


async def written_files(
    session: Session, job: StoredJob, adapter: Iterable[PlannedUpload]
) -> list[PlannedUpload]:
    """Log, metrics and report of a job that has ended, written or brought here.

    A log that cannot be had now is left out; secrets that got into it are.
    """
    owner = await owner_of(session, job)
    store = session.store
    folder = session.config.home / _MADE_HERE / job.job_id
    points = await store.metrics(job.job_id)
    records = await store.events(job.job_id, without_metrics=True)
    artifacts = await store.artifacts(job.job_id)
    hashes = {file.file_name: file.sha256 for file in adapter}
    texts = {
        job_files.METRICS_FILE: job_files.metrics_csv(points),
        job_files.REPORT_FILE: job_files.run_report(
            job, records, artifacts[0] if artifacts else None, hashes
        ),
    }
    await asyncio.to_thread(_write, folder, texts)
    found = [(name, folder / name) for name in texts]
    if (log := await _log(session, job)) is not None:
        await asyncio.to_thread(_write_redacted, log, folder / job_files.LOG_FILE)
        found.append((job_files.LOG_FILE, folder / job_files.LOG_FILE))
    return [await asyncio.to_thread(_plan_here, owner, name, path) for name, path in found]


async def _log(session: Session, job: StoredJob) -> Path | None:
    """The latest attempt's; an agent is asked where it answers, and never started for it."""
    home, attempt = session.config.home, owner_attempt(job)
    path = log_path(home, job.job_id, attempt)
    if not await asyncio.to_thread(path.exists) and not job.state.rented:
        try:
            async with session.host_of(job).client() as client:
                await keep_log(client, home, job.job_id, attempt)
        except (AgentError, OSError):
            return None
    return path if await asyncio.to_thread(path.exists) else None


def owner_attempt(job: StoredJob) -> int:
    """The attempt that counts: the latest."""
    return max(job.state.attempt, 1)


def _plan_here(owner: Owner, name: str, path: Path) -> PlannedUpload:
    file = FoundFile(name, file_sha256(path), path.stat().st_size, str(path))
    return plan_file(owner, file)


def _write(folder: Path, texts: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in texts.items():
        write_atomic(folder / name, content.decode())


def _write_redacted(log: Path, target: Path) -> None:
    write_atomic(target, redact(log.read_text(encoding="utf-8", errors="replace")))


def _only_directory(home: Path) -> Path | None:
    """As it came home, the adapter lies in a directory of its own below the job's."""
    found = [path.parent for path in home.rglob(MANIFEST_NAME)]
    return found[0] if len(found) == 1 else None


def _require(found: str, expected: str | None, where: str) -> None:
    if expected is not None and found != expected:
        raise IntegrityError(
            f"{where}: the adapter has manifest {found[:12]}, the job's journal recorded "
            f"{expected[:12]}."
        )
