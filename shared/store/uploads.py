"""Files on their way to Supabase Storage, or there: one row each, named by the object.

Whoever uploads writes here how far it is, so that every screen shows the same, and whoever comes
later goes on. Knows tables and values; the bytes, and the tokens that let them in, are not here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, exists, insert, select, update

from shared.events import utc_now
from shared.lifecycle import JobStatus
from shared.store.database import Database
from shared.store.schema import model_artifacts, model_versions, training_jobs, uploads
from shared.store.uninterrupted import uninterrupted

_AT_AGENT = "agent:"


class UploadState(StrEnum):
    """Where a file stands. It moves forward; only another project brings it back."""

    WAITING = "waiting"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    """There, by the server's word."""
    VERIFIED = "verified"
    """Read back, and its hash holds."""
    REFUSED = "refused"
    """It will not be taken as it is; `error` says why. Asking for it again tries again."""
    REMOVED = "removed"
    """It was there, and was taken away on purpose; it does not come back by itself."""

    @property
    def is_open(self) -> bool:
        """True where something is left to do."""
        return self in OPEN_STATES


OPEN_STATES = (UploadState.WAITING, UploadState.UPLOADING, UploadState.UPLOADED)


class ArtifactType(StrEnum):
    """What an object is. Those that are no `FILE` are rows of Supabase's `model_artifacts`."""

    LORA_ADAPTER = "lora_adapter"
    CHECKPOINT = "checkpoint"
    MERGED_MODEL = "merged_model"
    FILE = "file"
    """Goes along with one of the others, or with the job."""


@dataclass(frozen=True, slots=True)
class PlannedUpload:
    """A file that is to go up."""

    object_name: str
    """Carries the content, so that it is never used for other bytes."""
    training_job_id: str
    attempt: int
    artifact_type: ArtifactType
    file_name: str
    sha256: str
    size_bytes: int
    content_type: str
    source: str
    """See `at_agent` and `local_path`."""

    @property
    def agent_path(self) -> str | None:
        """In the list of artifacts of the job's agent; None for a file of this machine."""
        is_there = self.source.startswith(_AT_AGENT)
        return self.source.removeprefix(_AT_AGENT) if is_there else None

    @property
    def local_path(self) -> Path | None:
        """On the console's machine; None for a file that the job's agent has."""
        return None if self.agent_path is not None else Path(self.source)


@dataclass(frozen=True, slots=True)
class StoredUpload(PlannedUpload):
    """A file, and how far it is."""

    target: str
    state: UploadState
    sent_bytes: int
    bytes_per_s: float | None
    error: str
    """Why it is not further; "" where all is well."""
    updated_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "updated_at": self.updated_at.isoformat()}


def at_agent(path: str) -> str:
    """The `source` of a file in the agent's list of artifacts."""
    return f"{_AT_AGENT}{path}"


class Uploads:
    """Reads and writes of uploads; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def plan(self, target: str, files: Sequence[PlannedUpload]) -> None:
        """Have these uploaded. What is there, or on its way, stays as it is; a new source counts.

        What was refused or removed is tried again, and what went to another project begins anew.
        """
        columns = uploads.c
        async with self._database.writing() as connection:
            for file in files:
                query = select(columns.target, columns.state).where(
                    columns.object_name == file.object_name
                )
                known = (await connection.execute(query)).one_or_none()
                if known is None:
                    row = {**asdict(file), "target": target, **_AT_FIRST}
                    await connection.execute(insert(uploads), {**row, "updated_at": utc_now()})
                    continue
                changes: dict[str, Any] = {"source": file.source}
                if known.target != target or known.state in _TRIED_AGAIN:
                    changes = {**asdict(file), "target": target, **_AT_FIRST}
                await connection.execute(
                    update(uploads)
                    .where(columns.object_name == file.object_name)
                    .values(**changes, updated_at=utc_now())
                )

    @uninterrupted
    async def note(
        self,
        object_name: str,
        state: UploadState,
        *,
        sent_bytes: int | None = None,
        bytes_per_s: float | None = None,
        error: str = "",
    ) -> None:
        """Say how far a file is; what is verified stays so."""
        changes: dict[str, Any] = {"state": state.value, "bytes_per_s": bytes_per_s, "error": error}
        if sent_bytes is not None:
            changes["sent_bytes"] = sent_bytes
        statement = (
            update(uploads)
            .where(uploads.c.object_name == object_name)
            .where(uploads.c.state != UploadState.VERIFIED.value)
            .values(**changes, updated_at=utc_now())
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)

    @uninterrupted
    async def forget(self, object_name: str) -> None:
        """Say that it is not in the bucket any more, and is not to come back by itself."""
        statement = (
            update(uploads)
            .where(uploads.c.object_name == object_name)
            .values(state=UploadState.REMOVED.value, bytes_per_s=None, updated_at=utc_now())
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)

    @uninterrupted
    async def of_job(self, job_id: str, target: str | None = None) -> list[StoredUpload]:
        """The job's files, those that matter most first; with `target` only what goes there."""
        columns = uploads.c
        query = select(uploads).where(columns.training_job_id == job_id)
        if target is not None:
            query = query.where(columns.target == target)
        return sorted(await self._found(query), key=_rank)

    @uninterrupted
    async def verified(self, target: str, job_ids: Collection[str] = ()) -> list[StoredUpload]:
        """What is there and holds; of these jobs, or of all."""
        columns = uploads.c
        query = select(uploads).where(
            columns.target == target, columns.state == UploadState.VERIFIED.value
        )
        if job_ids:
            query = query.where(columns.training_job_id.in_(job_ids))
        return sorted(await self._found(query), key=_rank)

    @uninterrupted
    async def jobs_with_work(self, target: str) -> list[str]:
        """Final jobs of which something is to be uploaded or read back, oldest first."""
        columns = uploads.c
        query = (
            select(training_jobs.c.id)
            .where(training_jobs.c.status.in_([s.value for s in JobStatus if s.is_final]))
            .where(
                exists().where(
                    columns.training_job_id == training_jobs.c.id,
                    columns.target == target,
                    columns.state.in_([state.value for state in OPEN_STATES]),
                )
            )
            .order_by(training_jobs.c.created_at, training_jobs.c.id)
        )
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))

    @uninterrupted
    async def jobs_without(self, target: str, file_name: str) -> list[str]:
        """Completed jobs with a verified adapter and no upload of that name, oldest first."""
        columns = uploads.c
        jobs = training_jobs.c
        planned = exists().where(
            columns.training_job_id == jobs.id,
            columns.target == target,
            columns.file_name == file_name,
        )
        query = (
            select(jobs.id)
            .where(jobs.status == JobStatus.COMPLETED.value)
            .where(exists().where(model_artifacts.c.training_job_id == jobs.id))
            .where(~planned)
            # The files of a deleted version are gone, and are not wanted back.
            .where(~exists().where(_is_deleted_version))
            .order_by(jobs.created_at, jobs.id)
        )
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))

    async def _found(self, query: Any) -> list[StoredUpload]:
        async with self._database.reading() as connection:
            return [_upload_of(row) for row in (await connection.execute(query)).mappings()]


_is_deleted_version = (model_versions.c.training_job_id == training_jobs.c.id) & (
    model_versions.c.deleted_at.is_not(None)
)

_AT_FIRST: dict[str, Any] = {
    "state": UploadState.WAITING.value,
    "sent_bytes": 0,
    "bytes_per_s": None,
    "error": "",
}
_TRIED_AGAIN = (UploadState.REFUSED.value, UploadState.REMOVED.value)
_ORDER = list(ArtifactType)


def _rank(upload: StoredUpload) -> tuple[int, str]:
    return _ORDER.index(upload.artifact_type), upload.object_name


def _upload_of(row: RowMapping) -> StoredUpload:
    values = {name: row[name] for name in StoredUpload.__dataclass_fields__}
    values["artifact_type"] = ArtifactType(row["artifact_type"])
    values["state"] = UploadState(row["state"])
    return StoredUpload(**values)
