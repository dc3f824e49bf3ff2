"""The console's own memory: jobs, their events, metrics, adapters and training files.

A copy of what agents report is written together with the cursor, in one transaction, so that
receiving a record twice changes nothing and losing one is noticed. The store decides nothing; the
status is the fold of the records, and once it is final it stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.agent_protocol import Health, MachineFacts
from shared.errors import InvalidJobSpec, StoreError, UnknownJob
from shared.events import (
    MEASUREMENTS,
    AdapterSaved,
    AdapterVerified,
    Evaluation,
    JournalRecord,
    utc_now,
)
from shared.job_spec import JobSpec
from shared.job_state import JobState, fold
from shared.lifecycle import FINAL_STATUSES, Activity, JobStatus, StopReason
from shared.machine_request import MachineRequest
from shared.rental import Rental
from shared.store import rows
from shared.store.api_tokens import ApiTokens
from shared.store.cached_models import CachedModels
from shared.store.cursor import Cursor, records_after
from shared.store.database import Database
from shared.store.engine import create_engine, migrate
from shared.store.failures import translated
from shared.store.forecasts import Forecasts
from shared.store.job_pages import JobPages
from shared.store.mirror_progress import MirrorProgress
from shared.store.model_versions import ModelVersions
from shared.store.notifications import Notifications
from shared.store.queue import JobQueue
from shared.store.received_webhooks import ReceivedWebhooks
from shared.store.record_writer import RecordWriter
from shared.store.rentals import Rentals, rental_row
from shared.store.schema import (
    hosts,
    job_events,
    model_artifacts,
    rentals,
    training_jobs,
    training_metrics_history,
)
from shared.store.spending import SpendingRecords
from shared.store.store_settings import StoreSettings
from shared.store.stored import (
    Applied,
    MetricsPoint,
    StoredArtifact,
    StoredHost,
    StoredJob,
    latest_by_step,
)
from shared.store.sweeps import Sweeps
from shared.store.templates import Templates
from shared.store.training_files import TrainingFiles
from shared.store.uninterrupted import ended, uninterrupted
from shared.store.uploads import Uploads
from shared.store.upsert import insert_into
from shared.store.web_facts import WebFactsRoom
from shared.store.web_training_files import WebTrainingFiles
from shared.store.webhooks import WebhookRoom

_Event = TypeVar("_Event", bound=BaseModel)


@asynccontextmanager
async def open_store(where: str | Path) -> AsyncIterator[Store]:
    """The store at a path (SQLite) or a database URL, created or migrated as needed.

    Raises:
        StoreError: it cannot be opened, is damaged, or was made by a newer version.
    """
    with translated(str(where) if isinstance(where, Path) else "database"):
        engine, name = create_engine(where)
    try:
        with translated(name):
            await migrate(engine, name)
        database = Database(engine, name)
        try:
            yield Store(database)
        finally:
            await ended(database.transactions)
    finally:
        await engine.dispose()


class Store:
    """Reads and writes of the console; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.training_files = TrainingFiles(database)
        self.rentals = Rentals(database)
        self.cached_models = CachedModels(database)
        self.models = ModelVersions(database)
        self.settings = StoreSettings(database)
        self.forecasts = Forecasts(database)
        self.sweeps = Sweeps(database)
        self.queue = JobQueue(database)
        self.templates = Templates(database)
        self.spending = SpendingRecords(database)
        self.web_facts = WebFactsRoom(database)
        self.mirror_progress = MirrorProgress(database)
        self.uploads = Uploads(database)
        self.notifications = Notifications(database)
        self.web_files = WebTrainingFiles(database)
        self.api_tokens = ApiTokens(database)
        self.received_webhooks = ReceivedWebhooks(database)
        self.job_pages = JobPages(database)
        self.webhooks = WebhookRoom(database)
        self.transactions = database.transactions
        self._records = RecordWriter(database.engine.dialect)

    @uninterrupted
    async def add_job(
        self,
        spec: JobSpec,
        host: str,
        retry_of: str | None = None,
        request: MachineRequest | None = None,
        *,
        waits_for_turn: bool = False,
        sweep_id: str | None = None,
        created_by: str | None = None,
        training_file_id: str | None = None,
    ) -> tuple[StoredJob, bool]:
        """Write down the intent, before anything is asked of a machine.

        `request` is what is to be rented for it; None for a machine that is there. One that
        `waits_for_turn` is handed over to its host later (a rented one waits by itself).

        Returns the job, and False if the same one was there already.

        Raises:
            InvalidJobSpec: the id belongs to a job with another spec.
        """
        now = utc_now()
        activity = Activity.WAITING_FOR_TURN if waits_for_turn else None
        state = JobState(rented=request is not None, activity=activity)
        job = StoredJob(
            spec,
            state,
            host,
            retry_of,
            None,
            created_at=now,
            updated_at=now,
            waits_for_turn=waits_for_turn,
            sweep_id=sweep_id,
            created_by=created_by,
            training_file_id=training_file_id,
        )
        async with self.database.writing() as connection:
            known = await _find(connection, spec.job_id)
            if known is None:
                await connection.execute(insert(training_jobs), rows.job_row(job))
                if request is not None:
                    row = rental_row(job.job_id, request, Rental(since=now))
                    await connection.execute(insert(rentals), row)
                return job, True
        if not known.spec.same_work_as(spec):
            raise InvalidJobSpec(
                f"job {spec.job_id} exists with other settings or another dataset: "
                "choose another --job-id."
            )
        return known, False

    @uninterrupted
    async def get_job(self, job_id: str) -> StoredJob:
        """The job with this id, or the only one whose id begins so.

        Raises:
            UnknownJob: none, or several.
        """
        async with self.database.reading() as connection:
            exact = await _find(connection, job_id)
            if exact is not None:
                return exact
            query = select(training_jobs).where(
                training_jobs.c.id.startswith(job_id, autoescape=True)
            )
            found = (await connection.execute(query.limit(6))).mappings().all()
        if len(found) == 1 and job_id:
            return rows.job_of(found[0])
        if found and job_id:
            several = ", ".join(row["id"] for row in found[:5])
            raise UnknownJob(f"{job_id!r} fits several jobs: {several}. Type more of the id.")
        raise UnknownJob(f"there is no job {job_id!r}. `brightrun jobs` lists them.")

    @uninterrupted
    async def list_jobs(self, statuses: Iterable[JobStatus] = ()) -> list[StoredJob]:
        """Newest first; only those with one of `statuses`, if any are given."""
        query = select(training_jobs).order_by(
            training_jobs.c.created_at.desc(), training_jobs.c.id.desc()
        )
        if wanted := [status.value for status in statuses]:
            query = query.where(training_jobs.c.status.in_(wanted))
        async with self.database.reading() as connection:
            return [rows.job_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def job_versions(self) -> dict[str, datetime]:
        """When each job last changed, newest job first: a cheap look for what is new."""
        columns = training_jobs.c
        query = select(columns.id, columns.updated_at).order_by(
            columns.created_at.desc(), columns.id.desc()
        )
        async with self.database.reading() as connection:
            return {row.id: row.updated_at for row in await connection.execute(query)}

    @uninterrupted
    async def job_hosts(self) -> set[str]:
        """The hosts that any job was ever meant for."""
        async with self.database.reading() as connection:
            return set(await connection.scalars(select(training_jobs.c.host).distinct()))

    @uninterrupted
    async def apply_records(self, job_id: str, records: Iterable[JournalRecord]) -> Applied:
        """Take over what the agent reports: events, metrics, state and cursor, or none of it.

        Returns the job, and the records that were new to the store.

        Raises:
            ProtocolError: a gap, or a record of another job; nothing was written.
            UnknownJob: the store has no such job.
        """
        async with self.database.writing() as connection:
            job = await _find(connection, job_id, lock=True)
            if job is None:
                raise UnknownJob(f"there is no job {job_id!r}.")
            fresh = records_after(job.cursor, job_id, records)
            if not fresh:
                return Applied(job, ())
            await self._records.write(connection, fresh)
            state = fold(fresh, job.state)
            job = await _save_state(connection, job, state, rows.error_message_of(state))
            await self._record_artifacts(connection, job, fresh)
        return Applied(job, tuple(fresh))

    @uninterrupted
    async def settle_job(
        self,
        job_id: str,
        status: JobStatus,
        detail: str,
        stop_reason: StopReason | None = None,
    ) -> StoredJob:
        """End a job of which no agent says so: one that none ever accepted, or a rented one.

        A job that is final stays as it is.

        Raises:
            UnknownJob: the store has no such job.
        """
        assert status.is_final
        changes = {
            "status": status,
            "activity": None,
            "detail": detail,
            "stop_reason": stop_reason,
            "ended_at": utc_now(),
        }
        message = None
        if status is not JobStatus.COMPLETED:
            message = ": ".join(str(part) for part in (stop_reason, detail) if part)
        return await self._change_state(job_id, changes, message)

    @uninterrupted
    async def note_activity(self, job_id: str, activity: Activity, detail: str) -> StoredJob:
        """Say what is being done for a job, where it is not its agent that does it."""
        return await self._change_state(job_id, {"activity": activity, "detail": detail}, None)

    @uninterrupted
    async def forget_outcome(self, job_id: str) -> StoredJob:
        """What the agent of a rented machine said of the end holds no more: it is gone with it."""
        return await self._change_state(job_id, {"outcome": None}, None)

    async def _change_state(
        self, job_id: str, changes: dict[str, Any], error_message: str | None
    ) -> StoredJob:
        async with self.database.writing() as connection:
            job = await _find(connection, job_id, lock=True)
            if job is None:
                raise UnknownJob(f"there is no job {job_id!r}.")
            state = job.state.model_copy(update=changes)
            if job.status.is_final or state == job.state:
                return job
            return await _save_state(connection, job, state, error_message)

    @uninterrupted
    async def events(
        self, job_id: str, last: int | None = None, *, without_metrics: bool = False
    ) -> list[JournalRecord]:
        """The job's records in order; with `last`, only that many of the newest.

        `without_metrics` leaves out what is measured all the time: single steps, which `metrics`
        has more cheaply, and samples of GPUs.
        """
        columns = job_events.c
        query = (
            select(job_events)
            .where(columns.training_job_id == job_id)
            .order_by(columns.attempt.desc(), columns.seq.desc())
            .limit(last)
        )
        if without_metrics:
            kinds = [kind.model_fields["kind"].default for kind in MEASUREMENTS]
            query = query.where(columns.kind.not_in(kinds))
        async with self.database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [rows.record_of(row) for row in reversed(found)]

    @uninterrupted
    async def events_after(
        self, job_id: str, after: Cursor, upto: Cursor, limit: int = 500
    ) -> list[JournalRecord]:
        """The job's records after one cursor, up to and with another, in order."""
        columns = job_events.c
        place = tuple_(columns.attempt, columns.seq)
        query = (
            select(job_events)
            .where(columns.training_job_id == job_id)
            .where(place > tuple(after), place <= tuple(upto))
            .order_by(columns.attempt, columns.seq)
            .limit(limit)
        )
        async with self.database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [rows.record_of(row) for row in found]

    @uninterrupted
    async def events_of(
        self, job_id: str, kind: type[_Event], last: int | None = None
    ) -> list[_Event]:
        """The job's events of one kind in order; with `last`, only that many of the newest."""
        columns = job_events.c
        query = (
            select(columns.body)
            .where(columns.training_job_id == job_id)
            .where(columns.kind == kind.model_fields["kind"].default)
            .order_by(columns.attempt.desc(), columns.seq.desc())
            .limit(last)
        )
        async with self.database.reading() as connection:
            bodies = (await connection.scalars(query)).all()
        return [kind.model_validate(body) for body in reversed(bodies)]

    @uninterrupted
    async def records_of(
        self, job_id: str, kind: type[_Event], last: int | None = None
    ) -> list[JournalRecord]:
        """As `events_of`, each with its time and its place in the journal."""
        columns = job_events.c
        query = (
            select(job_events)
            .where(columns.training_job_id == job_id)
            .where(columns.kind == kind.model_fields["kind"].default)
            .order_by(columns.attempt.desc(), columns.seq.desc())
            .limit(last)
        )
        async with self.database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [rows.record_of(row) for row in reversed(found)]

    @uninterrupted
    async def metrics(self, job_id: str) -> list[MetricsPoint]:
        """For each step what the latest attempt measured, in order of the steps."""
        columns = training_metrics_history.c
        wanted = [column for column in columns if column is not columns.training_job_id]
        query = (
            select(*wanted)
            .where(columns.training_job_id == job_id)
            .order_by(columns.step, columns.attempt)
        )
        async with self.database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return latest_by_step(MetricsPoint(**row) for row in found)

    @uninterrupted
    async def artifacts(self, job_id: str) -> list[StoredArtifact]:
        """The verified adapters of a job, newest first."""
        query = (
            select(model_artifacts)
            .where(model_artifacts.c.training_job_id == job_id)
            .order_by(model_artifacts.c.attempt.desc())
        )
        async with self.database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [StoredArtifact(**row) for row in found]

    @uninterrupted
    async def record_contact(self, name: str, health: Health, facts: MachineFacts | None) -> None:
        """Remember what the host's agent says of itself and its machine."""
        row = rows.contact_row(name, health, facts, utc_now())
        async with self.database.writing() as connection:
            await self.database.upsert(connection, hosts, [row])

    @uninterrupted
    async def record_no_contact(self, name: str, reason: str) -> None:
        """Remember that the host did not answer; what was known of it stays."""
        now = utc_now()
        statement = insert_into(hosts, self.database.dialect)
        first = func.coalesce(hosts.c.unreachable_since, statement.excluded.unreachable_since)
        changed = {"last_error": reason, "last_error_at": now, "unreachable_since": first}
        statement = statement.on_conflict_do_update(index_elements=["name"], set_=changed)
        row = {"name": name, "last_error": reason, "last_error_at": now, "unreachable_since": now}
        async with self.database.writing() as connection:
            await connection.execute(statement, [row])

    @uninterrupted
    async def hosts(self) -> list[StoredHost]:
        """Every host that was ever looked at, by name."""
        query = select(hosts).order_by(hosts.c.name)
        async with self.database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [rows.host_of(row) for row in found]

    async def _record_artifacts(
        self, connection: AsyncConnection, job: StoredJob, records: list[JournalRecord]
    ) -> None:
        for record in records:
            if not isinstance(record.event, AdapterVerified):
                continue
            saved = await _last_event(connection, record, AdapterSaved)
            if saved is None or saved.manifest_sha256 != record.event.manifest_sha256:
                continue  # What was verified is not what was saved: no adapter to speak of.
            evaluated = await _last_event(connection, record, Evaluation)
            row = rows.artifact_row(job, saved, record, evaluated)
            await self.database.upsert(connection, model_artifacts, [row])


async def _find(
    connection: AsyncConnection, job_id: str, *, lock: bool = False
) -> StoredJob | None:
    query = select(training_jobs).where(training_jobs.c.id == job_id)
    if lock:  # SQLite leaves it out: there the whole transaction has its turn.
        query = query.with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else rows.job_of(row)


async def _save_state(
    connection: AsyncConnection, job: StoredJob, state: JobState, error_message: str | None
) -> StoredJob:
    now = utc_now()
    final = [status.value for status in FINAL_STATUSES]
    columns = training_jobs.c
    statement = (
        update(training_jobs)
        .where(columns.id == job.job_id)
        .where(or_(columns.status.not_in(final), columns.status == state.status.value))
        .values(rows.state_columns(state, error_message, now))
    )
    result = await connection.execute(statement)
    if result.rowcount != 1:
        raise StoreError(f"{job.job_id}: its status is final and cannot become {state.status}.")
    return replace(job, state=state, error_message=error_message, updated_at=now)


async def _last_event(
    connection: AsyncConnection, before: JournalRecord, kind: type[_Event]
) -> _Event | None:
    columns = job_events.c
    query = (
        select(columns.body)
        .where(columns.training_job_id == before.job_id)
        .where(columns.kind == kind.model_fields["kind"].default)
        .where(tuple_(columns.attempt, columns.seq) < (before.attempt, before.seq))
        .order_by(columns.attempt.desc(), columns.seq.desc())
        .limit(1)
    )
    body = await connection.scalar(query)
    return None if body is None else kind.model_validate(body)
