"""How far the web application's database has each job.

Not a list of what is to be sent: that is read from the jobs themselves when it is sent, so that
nothing is written on a job's way, nothing grows while nobody answers, and nothing is forgotten. A
target is a project and a schema; another one has nothing yet. Knows tables and values.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.events import Evaluation, JournalRecord, Metrics
from shared.lifecycle import FINAL_STATUSES
from shared.store import rows
from shared.store.cursor import BEGINNING, Cursor
from shared.store.database import Database
from shared.store.schema import (
    job_events,
    mirror_progress,
    model_versions,
    training_jobs,
    uploads,
)
from shared.store.stored import StoredJob
from shared.store.uninterrupted import uninterrupted
from shared.store.web_facts import VERIFIED

_TICK = timedelta(microseconds=1)
_MEASURED = [kind.model_fields["kind"].default for kind in (Metrics, Evaluation)]


class MirrorFailure(StrEnum):
    """Why something of a job is not there."""

    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    MISMATCH = "mismatch"
    REFUSED = "refused"
    """This job alone; the others go on."""
    ROWS = "rows"
    """Single rows were left out for good; the rest of the job is there."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A job as it is to be sent, and how far the target has it."""

    job: StoredJob
    as_of: datetime
    """Later than that of every picture before, whatever the clock does: a target that has a later
    one keeps it."""
    sent: Cursor
    """Up to where its metrics are there."""
    artifacts_digest: str
    failure: str


@dataclass(frozen=True, slots=True)
class Behind:
    """A job of which the target lacks something."""

    job_id: str
    since: datetime
    """When the oldest of what it lacks was written down."""
    failure: str
    error: str
    failing_since: datetime | None


class MirrorProgress:
    """Reads and writes; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def lagging(self, target: str) -> list[str]:
        """Ids of jobs of which the target lacks something; those that run first, then newest."""
        jobs = training_jobs.c
        is_final = jobs.status.in_([status.value for status in FINAL_STATUSES])
        query = (
            select(jobs.id)
            .outerjoin(mirror_progress, _is_progress_of(target))
            .where(_lacks_something())
            .order_by(is_final, jobs.created_at.desc(), jobs.id)
        )
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))

    @uninterrupted
    async def artifact_marks(self) -> dict[str, int]:
        """Of every job with a file in the storage: what changes when a row of its artifacts does.

        Of this process alone; what a target has of them stands in `Picture.artifacts_digest`.
        """
        files, versions = uploads.c, model_versions.c
        there = (
            select(files.training_job_id, files.object_name, files.artifact_type)
            .where(files.state == VERIFIED)
            .order_by(files.object_name)
        )
        named = select(
            versions.training_job_id,
            versions.model_name,
            versions.version,
            versions.deployment_status,
        ).order_by(versions.training_job_id, versions.attempt)
        marks: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        async with self._database.reading() as connection:
            for job, *values in await connection.execute(there):
                marks[job].append(tuple(values))
            for job, *values in await connection.execute(named):
                if job in marks:
                    marks[job].append(tuple(values))
        return {job: hash(tuple(values)) for job, values in marks.items()}

    @uninterrupted
    async def take_picture(self, job_id: str, target: str) -> Picture | None:
        """The job as it is now; None where it is gone."""
        columns = mirror_progress.c
        query = select(training_jobs).where(training_jobs.c.id == job_id)
        async with self._database.writing() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None:
                return None
            job = rows.job_of(row)
            await self._ensure(connection, job_id, target)
            query = select(mirror_progress).where(columns.training_job_id == job_id)
            progress = (await connection.execute(query)).mappings().one()
            as_of = _after(progress["as_of"], job.updated_at)
            statement = update(mirror_progress).where(columns.training_job_id == job_id)
            await connection.execute(statement.values(as_of=as_of))
        return Picture(
            job,
            as_of,
            Cursor(progress["metrics_attempt"], progress["metrics_seq"]),
            progress["artifacts_digest"],
            progress["failure"],
        )

    async def _ensure(self, connection: AsyncConnection, job_id: str, target: str) -> None:
        """A row of this target; what another target had is forgotten, but not the time."""
        columns = mirror_progress.c
        query = select(columns.target, columns.as_of).where(columns.training_job_id == job_id)
        known = (await connection.execute(query)).one_or_none()
        if known is not None and known.target == target:
            return
        is_there = select(training_jobs.c.id).where(training_jobs.c.id == job_id)
        if await connection.scalar(is_there) is None:
            return
        row = {
            "training_job_id": job_id,
            "target": target,
            "job_updated_at": None,
            "metrics_attempt": BEGINNING.attempt,
            "metrics_seq": BEGINNING.seq,
            "artifacts_digest": "",
            "as_of": None if known is None else known.as_of,
            "failure": "",
            "error": "",
            "failing_since": None,
        }
        await self._database.upsert(connection, mirror_progress, [row])

    @uninterrupted
    async def measured(
        self, job_id: str, after: Cursor, upto: Cursor, limit: int
    ) -> list[JournalRecord]:
        """Steps and evaluations after one cursor, up to and with another, in order."""
        columns = job_events.c
        place = tuple_(columns.attempt, columns.seq)
        query = (
            select(job_events)
            .where(columns.training_job_id == job_id, columns.kind.in_(_MEASURED))
            .where(place > tuple(after), place <= tuple(upto))
            .order_by(columns.attempt, columns.seq)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [rows.record_of(row) for row in found]

    @uninterrupted
    async def advance(
        self,
        job_id: str,
        target: str,
        *,
        cursor: Cursor | None = None,
        job_updated_at: datetime | None = None,
        artifacts_digest: str | None = None,
    ) -> None:
        """Write down what is there now; None leaves a part as it was.

        Nothing happens where another target has the job by now.
        """
        values: dict[str, Any] = {"job_updated_at": job_updated_at}
        values["artifacts_digest"] = artifacts_digest
        if cursor is not None:
            values |= {"metrics_attempt": cursor.attempt, "metrics_seq": cursor.seq}
        values = {name: value for name, value in values.items() if value is not None}
        statement = update(mirror_progress).where(_of(job_id, target)).values(values)
        async with self._database.writing() as connection:
            await connection.execute(statement)

    @uninterrupted
    async def note_success(self, job_id: str, target: str) -> None:
        """Nothing of the job fails any more; what was left out for good stays written down."""
        failure = mirror_progress.c.failure
        statement = (
            update(mirror_progress)
            .where(_of(job_id, target), failure.not_in(["", MirrorFailure.ROWS.value]))
            .values(failure="", error="", failing_since=None)
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)

    @uninterrupted
    async def note_failure(
        self, job_id: str, target: str, failure: MirrorFailure, error: str, now: datetime
    ) -> None:
        """Write down why something of the job is not there; since when stays, once it is."""
        since = func.coalesce(mirror_progress.c.failing_since, now)
        statement = (
            update(mirror_progress)
            .where(_of(job_id, target))
            .values(failure=failure.value, error=error, failing_since=since)
        )
        async with self._database.writing() as connection:
            await self._ensure(connection, job_id, target)
            await connection.execute(statement)

    @uninterrupted
    async def behind(self, target: str) -> list[Behind]:
        """Every job of which the target lacks something, or has refused something."""
        jobs, progress, events = training_jobs.c, mirror_progress.c, job_events.c
        unsent = (
            select(events.time)
            .where(events.training_job_id == jobs.id)
            .where(tuple_(events.attempt, events.seq) > tuple_(*_sent_cursor()))
            .order_by(events.attempt, events.seq)
            .limit(1)
            .scalar_subquery()
        )
        query = (
            select(
                jobs.id,
                func.coalesce(unsent, jobs.updated_at, type_=jobs.updated_at.type).label("since"),
                func.coalesce(progress.failure, "").label("failure"),
                func.coalesce(progress.error, "").label("error"),
                progress.failing_since,
            )
            .outerjoin(mirror_progress, _is_progress_of(target))
            .where(or_(_lacks_something(), func.coalesce(progress.failure, "") != ""))
            .order_by(jobs.created_at)
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).all()
        return [Behind(*row) for row in found]


def _after(earlier: datetime | None, moment: datetime) -> datetime:
    return moment if earlier is None else max(moment, earlier + _TICK)


def _of(job_id: str, target: str) -> ColumnElement[bool]:
    columns = mirror_progress.c
    return and_(columns.training_job_id == job_id, columns.target == target)


def _is_progress_of(target: str) -> ColumnElement[bool]:
    columns = mirror_progress.c
    return and_(columns.training_job_id == training_jobs.c.id, columns.target == target)


def _sent_cursor() -> tuple[ColumnElement[int], ColumnElement[int]]:
    columns = mirror_progress.c
    return func.coalesce(columns.metrics_attempt, 0), func.coalesce(columns.metrics_seq, 0)


def _lacks_something() -> ColumnElement[bool]:
    jobs, progress = training_jobs.c, mirror_progress.c
    return or_(
        progress.job_updated_at.is_(None),  # Also where there is no row at all.
        progress.job_updated_at != jobs.updated_at,
        tuple_(jobs.cursor_attempt, jobs.cursor_seq) > tuple_(*_sent_cursor()),
    )
