"""Versions of models, and who moved them when and why.

Knows tables and values only: whether a move is allowed is for `shared.model_version` to say. Every
change names what it changes from, so that of two people who act at once the second one is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2s
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.deployment import DeploymentStatus
from shared.errors import InvalidInput
from shared.events import utc_now
from shared.model_version import (
    DELETED,
    RENAMED,
    DeploymentChange,
    ModelVersion,
    VersionFacts,
)
from shared.store.database import Database
from shared.store.schema import (
    deployment_changes,
    model_artifacts,
    model_versions,
    store_settings,
    training_jobs,
    uploads,
)
from shared.store.uninterrupted import uninterrupted
from shared.store.uploads import ArtifactType, UploadState

_COLUMNS = model_versions.c
_CHANGES = deployment_changes.c


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version before it has a number."""

    version_id: str
    model_name: str
    job_id: str
    attempt: int
    manifest_sha256: str
    facts: VersionFacts
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """Who changes something, and why."""

    who: str
    why: str


class ModelVersions:
    """Reads and writes of versions; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def add(self, new: NewVersion) -> tuple[ModelVersion, bool]:
        """Give the next number of its model; returns False with the one that was there already."""
        async with self._database.writing() as connection:
            for known in await _versions(connection, _COLUMNS.id == new.version_id):
                return known, False
            number = await self._next_number(connection, new.model_name)
            version = ModelVersion(
                new.version_id,
                new.model_name,
                number,
                new.job_id,
                new.attempt,
                new.manifest_sha256,
                DeploymentStatus.STORED,
                new.facts,
                new.created_at,
            )
            await connection.execute(insert(model_versions), _row_of(version))
        return version, True

    @uninterrupted
    async def all(self) -> list[ModelVersion]:
        """By model, the newest version first; those that were deleted as well."""
        async with self._database.reading() as connection:
            return await _versions(connection)

    @uninterrupted
    async def find(self, model_name: str, version: int | None = None) -> ModelVersion:
        """That version, or the newest one whose files are kept.

        Raises:
            InvalidInput: there is none.
        """
        async with self._database.reading() as connection:
            versions = await _versions(connection, _COLUMNS.model_name == model_name)
        if version is not None:
            found = [each for each in versions if each.version == version]
        else:
            found = [each for each in versions if not each.is_deleted] or versions
        if found:
            return found[0]
        known = ", ".join(str(each.version) for each in versions)
        there = f"it has {known}" if known else "there is no such model"
        name = model_name if version is None else f"{model_name}:{version}"
        raise InvalidInput(f"{name}: {there}. `brightrun models` lists all.")

    @uninterrupted
    async def get(self, version_id: str) -> ModelVersion | None:
        """The version with this id."""
        async with self._database.reading() as connection:
            found = await _versions(connection, _COLUMNS.id == version_id)
        return found[0] if found else None

    @uninterrupted
    async def of_job(self, job_id: str) -> list[ModelVersion]:
        """What the job has made, the latest attempt first."""
        async with self._database.reading() as connection:
            found = await _versions(connection, _COLUMNS.training_job_id == job_id)
        return sorted(found, key=lambda each: -each.attempt)

    @uninterrupted
    async def jobs_without(self) -> list[str]:
        """Ids of completed jobs with a verified adapter that is no version yet, oldest first."""
        artifacts = model_artifacts.c
        query = (
            select(training_jobs.c.id)
            .join(model_artifacts, artifacts.training_job_id == training_jobs.c.id)
            .outerjoin(model_versions, _COLUMNS.training_job_id == training_jobs.c.id)
            .where(training_jobs.c.status == "completed", _COLUMNS.id.is_(None))
            .group_by(training_jobs.c.id)
            .order_by(func.max(artifacts.created_at), training_jobs.c.id)
        )
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))

    @uninterrupted
    async def history(self, version_ids: Collection[str] = ()) -> list[DeploymentChange]:
        """What was changed, the oldest first; of these versions, if any are named."""
        query = select(deployment_changes).order_by(_CHANGES.id)
        if version_ids:
            query = query.where(_CHANGES.model_version_id.in_(version_ids))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_change_of(row) for row in rows]

    @uninterrupted
    async def upload_states(self) -> dict[str, frozenset[str]]:
        """Job id -> the states of the uploads of its adapter's weights."""
        columns = uploads.c
        query = select(columns.training_job_id, columns.state).where(
            columns.artifact_type == ArtifactType.LORA_ADAPTER.value,
            columns.state != UploadState.REMOVED.value,
        )
        found: dict[str, set[str]] = {}
        async with self._database.reading() as connection:
            for row in await connection.execute(query):
                found.setdefault(row.training_job_id, set()).add(row.state)
        return {job_id: frozenset(states) for job_id, states in found.items()}

    @uninterrupted
    async def move(
        self, version: ModelVersion, to: DeploymentStatus, change: Change
    ) -> ModelVersion:
        """Give it another status; into production, the one that was there is archived with it.

        Raises:
            InvalidInput: somebody else has changed it since it was read as `version`.
        """
        async with self._database.writing() as connection:
            others = await _locked(connection, version)
            if to is DeploymentStatus.PRODUCTION:
                for other in others:
                    if other.status is to and other.version_id != version.version_id:
                        why = f"{version.reference} took its place: {change.why}"
                        replaced = Change(change.who, why)
                        await _move(connection, other, DeploymentStatus.ARCHIVED, replaced)
            await _move(connection, version, to, change)
            return (await _versions(connection, _COLUMNS.id == version.version_id))[0]

    @uninterrupted
    async def delete(self, version: ModelVersion, change: Change) -> ModelVersion:
        """Write down that its files go; the record stays, archived.

        Raises:
            InvalidInput: somebody else has changed it since it was read as `version`.
        """
        now = utc_now()
        values = {"deployment_status": DeploymentStatus.ARCHIVED.value, "deleted_at": now}
        async with self._database.writing() as connection:
            await _locked(connection, version)
            await _change(connection, version, values)
            await _note(connection, version, version.status, DELETED, change, now)
            return (await _versions(connection, _COLUMNS.id == version.version_id))[0]

    @uninterrupted
    async def rename(self, version: ModelVersion, model_name: str, change: Change) -> ModelVersion:
        """Let it go over to another model, as its next version.

        Raises:
            InvalidInput: somebody else has changed it since it was read as `version`.
        """
        async with self._database.writing() as connection:
            await _locked(connection, version)
            number = await self._next_number(connection, model_name)
            values = {"model_name": model_name, "version": number}
            await _change(connection, version, values)
            why = f"was {version.reference}: {change.why}"
            await _note(
                connection, version, version.status, RENAMED, Change(change.who, why), utc_now()
            )
            return (await _versions(connection, _COLUMNS.id == version.version_id))[0]

    async def _next_number(self, connection: AsyncConnection, model_name: str) -> int:
        """One more than was ever given, also to a version that has another name by now."""
        settings = store_settings.c
        key = _counter_of(model_name)
        query = select(settings.value).where(settings.name == key).with_for_update()
        counted = await connection.scalar(query)
        known = select(func.max(_COLUMNS.version)).where(_COLUMNS.model_name == model_name)
        number = max(int(counted or 0), await connection.scalar(known) or 0) + 1
        row = {"name": key, "value": number, "updated_at": utc_now()}
        await self._database.upsert(connection, store_settings, [row])
        return number


def _counter_of(model_name: str) -> str:
    """The setting with the highest number that the model ever gave; its name has 38 characters."""
    return f"model:{blake2s(model_name.encode(), digest_size=16).hexdigest()}"


async def _versions(
    connection: AsyncConnection, *conditions: ColumnElement[bool], lock: bool = False
) -> list[ModelVersion]:
    query = select(model_versions).where(*conditions)
    query = query.order_by(_COLUMNS.model_name, _COLUMNS.version.desc())
    if lock:  # SQLite leaves it out: there the whole transaction has its turn.
        query = query.with_for_update()
    return [_version_of(row) for row in (await connection.execute(query)).mappings()]


async def _locked(connection: AsyncConnection, version: ModelVersion) -> list[ModelVersion]:
    """All versions of its model: two of them must not come into production at once."""
    return await _versions(connection, _COLUMNS.model_name == version.model_name, lock=True)


async def _move(
    connection: AsyncConnection, version: ModelVersion, to: DeploymentStatus, change: Change
) -> None:
    await _change(connection, version, {"deployment_status": to.value})
    await _note(connection, version, version.status, to.value, change, utc_now())


async def _change(
    connection: AsyncConnection, version: ModelVersion, values: Mapping[str, Any]
) -> None:
    """Only where it still is as it was read."""
    statement = update(model_versions).where(
        _COLUMNS.id == version.version_id,
        _COLUMNS.model_name == version.model_name,
        _COLUMNS.version == version.version,
        _COLUMNS.deployment_status == version.status.value,
        _COLUMNS.deleted_at.is_(None),
    )
    result = await connection.execute(statement.values(**values))
    if result.rowcount != 1:
        found = await _versions(connection, _COLUMNS.id == version.version_id)
        now = "not there" if not found else found[0].status.value
        if found and found[0].is_deleted:
            now = DELETED
        raise InvalidInput(
            f"{version.reference} was changed by somebody else meanwhile: it was "
            f"{version.status} and is {now}. Look again, then decide; nothing was changed."
        )


async def _note(
    connection: AsyncConnection,
    version: ModelVersion,
    from_status: DeploymentStatus,
    to_status: str,
    change: Change,
    time: datetime,
) -> None:
    row = {
        "model_version_id": version.version_id,
        "time": time,
        "from_status": from_status.value,
        "to_status": to_status,
        "who": change.who,
        "why": change.why,
    }
    await connection.execute(insert(deployment_changes), row)


def _row_of(version: ModelVersion) -> dict[str, Any]:
    return {
        "id": version.version_id,
        "model_name": version.model_name,
        "version": version.version,
        "training_job_id": version.job_id,
        "attempt": version.attempt,
        "manifest_sha256": version.manifest_sha256,
        "deployment_status": version.status.value,
        "facts": version.facts.model_dump(mode="json"),
        "created_at": version.created_at,
        "deleted_at": version.deleted_at,
    }


def _version_of(row: RowMapping) -> ModelVersion:
    return ModelVersion(
        row["id"],
        row["model_name"],
        row["version"],
        row["training_job_id"],
        row["attempt"],
        row["manifest_sha256"],
        DeploymentStatus(row["deployment_status"]),
        VersionFacts.model_validate(row["facts"]),
        row["created_at"],
        row["deleted_at"],
    )


def _change_of(row: RowMapping) -> DeploymentChange:
    return DeploymentChange(
        row["model_version_id"],
        row["time"],
        row["from_status"],
        row["to_status"],
        row["who"],
        row["why"],
    )
