"""What the web application sees of jobs beyond the jobs themselves: machine, money, files.

Read for many jobs at once, in one transaction, since a page of jobs has a hundred of them. Knows
tables and values; what a row of the web application looks like is for others to say.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Column, ColumnElement, RowMapping, case, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.forecast.forecast import Forecast
from shared.rental import Machine, Rental
from shared.store.database import Database
from shared.store.rentals import machine_of
from shared.store.schema import (
    deployment_changes,
    forecasts,
    machines,
    model_artifacts,
    model_versions,
    rentals,
    store_marks,
    training_jobs,
    uploads,
    web_training_files,
)
from shared.store.stored import StoredArtifact
from shared.store.uninterrupted import uninterrupted

_MOST_AT_ONCE = 500
"""Values in one question; SQLite takes 32,766."""

VERIFIED = "verified"
_IN_PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file that lies in the web application's storage, read back and found right."""

    object_name: str
    attempt: int
    artifact_type: str
    """lora_adapter, checkpoint, merged_model, or file for what goes along."""
    file_name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What an adapter is among the models."""

    attempt: int
    model_name: str
    version: int
    deployment_status: str
    deployed_at: datetime | None
    """When it last went into production."""


@dataclass(frozen=True, slots=True)
class WebFacts:
    """Of one job."""

    rental: Rental | None = None
    """None on a machine of the user's own."""
    machines: tuple[Machine, ...] = ()
    """In the order in which they were asked for."""
    forecast: Forecast | None = None
    objects: tuple[StoredObject, ...] = ()
    """By name."""
    adapters: tuple[StoredArtifact, ...] = ()
    """Verified ones, newest first."""
    versions: tuple[StoredVersion, ...] = ()
    """What its adapters are among the models."""
    training_file_id: str | None = None
    """Of the web application's row; None where its file is not one of those."""


class WebFactsRoom:
    """Reads; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def mark(self) -> str | None:
        """The store's mark, without making one; None where it has none yet."""
        async with self._database.reading() as connection:
            mark = await connection.scalar(select(store_marks.c.mark))
        return None if mark is None else str(mark)

    @uninterrupted
    async def of(self, job_ids: Iterable[str]) -> dict[str, WebFacts]:
        """Facts of these jobs; a job of which nothing is known has empty ones."""
        ids = list(job_ids)
        facts: dict[str, WebFacts] = {}
        async with self._database.reading() as connection:
            for start in range(0, len(ids), _MOST_AT_ONCE):
                some = ids[start : start + _MOST_AT_ONCE]
                facts.update(await _facts_of(connection, some))
        return facts


async def _facts_of(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, WebFacts]:
    found = await _by_job(connection, rentals.c.training_job_id, ids)
    rental_of = {job: _rental_of(rows[0]) for job, rows in found.items()}
    machines_of = await _by_job(
        connection, machines.c.training_job_id, ids, machines.c.created_at, machines.c.name
    )
    forecast_of = await _by_job(connection, forecasts.c.training_job_id, ids)
    objects_of = await _by_job(
        connection, uploads.c.training_job_id, ids, uploads.c.object_name, state=VERIFIED
    )
    adapters_of = await _by_job(
        connection, model_artifacts.c.training_job_id, ids, model_artifacts.c.attempt.desc()
    )
    versions_of = await _versions(connection, ids)
    file_of = await _training_files(connection, ids)
    return {
        job: WebFacts(
            rental=rental_of.get(job),
            machines=tuple(machine_of(row) for row in machines_of.get(job, ())),
            forecast=_forecast_of(forecast_of.get(job, ())),
            objects=tuple(_object_of(row) for row in objects_of.get(job, ())),
            adapters=tuple(StoredArtifact(**row) for row in adapters_of.get(job, ())),
            versions=tuple(versions_of.get(job, ())),
            training_file_id=file_of.get(job),
        )
        for job in ids
    }


async def _by_job(
    connection: AsyncConnection,
    column: Column[Any],
    ids: Sequence[str],
    *order: ColumnElement[Any],
    state: str | None = None,
) -> dict[str, list[RowMapping]]:
    """Rows of the column's table, by job."""
    query = select(column.table).where(column.in_(ids)).order_by(*order)
    if state is not None:
        query = query.where(column.table.c.state == state)
    found = defaultdict(list)
    for row in (await connection.execute(query)).mappings():
        found[row[column.name]].append(row)
    return found


async def _versions(
    connection: AsyncConnection, ids: Sequence[str]
) -> dict[str, list[StoredVersion]]:
    versions, changes = model_versions.c, deployment_changes.c
    deployed_at = (
        select(func.max(changes.time))
        .where(changes.model_version_id == versions.id, changes.to_status == _IN_PRODUCTION)
        .scalar_subquery()
    )
    query = (
        select(
            versions.training_job_id,
            versions.attempt,
            versions.model_name,
            versions.version,
            versions.deployment_status,
            type_coerce(deployed_at, changes.time.type),
        )
        .where(versions.training_job_id.in_(ids))
        .order_by(versions.attempt)
    )
    found = defaultdict(list)
    for job, *values in await connection.execute(query):
        found[job].append(StoredVersion(*values))
    return found


async def _training_files(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    """By job: the row of the web application with the job's very bytes.

    Of several with the same bytes the one that was there last when the job was made.
    """
    files, jobs = web_training_files.c, training_jobs.c
    sha256 = jobs.spec["dataset"]["sha256"].as_string()
    came_later = files.fetched_at > jobs.created_at
    query = (
        select(jobs.id, files.id)
        .join(web_training_files, files.sha256 == sha256)
        .where(jobs.id.in_(ids))
        # The last one that is read stands.
        .order_by(came_later.desc(), case((came_later, None), else_=files.fetched_at), files.id)
    )
    return {job: str(file_id) for job, file_id in await connection.execute(query)}


def _rental_of(row: RowMapping) -> Rental:
    return Rental.model_validate_json(json.dumps(row["rental"]))


def _forecast_of(found: Sequence[RowMapping]) -> Forecast | None:
    try:
        return Forecast.model_validate(found[0]["forecast"]) if found else None
    except ValidationError:  # Another version wrote it.
        return None


def _object_of(row: RowMapping) -> StoredObject:
    return StoredObject(
        object_name=row["object_name"],
        attempt=row["attempt"],
        artifact_type=row["artifact_type"],
        file_name=row["file_name"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
    )
