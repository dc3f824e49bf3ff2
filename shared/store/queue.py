"""Jobs that wait for their turn: their order, and the claims of those whose turn has come.

A claim is written before a host hears of its job, and grows old unless whoever made it holds on to
it: then the next one takes it over, since a host takes the same job twice without harm. So a turn
survives whoever gave it, and two that give turns never give the same place twice. Knows tables and
values, no host.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.lifecycle import FINAL_STATUSES, Activity, JobStatus
from shared.rental import RentalPhase
from shared.store import rows
from shared.store.database import Database
from shared.store.schema import rentals, training_jobs
from shared.store.stored import StoredJob
from shared.store.uninterrupted import uninterrupted
from shared.turns import TurnLimits, has_turn, in_order, next_turns, places_after_move

_FINAL = [status.value for status in FINAL_STATUSES]
_COLUMNS = training_jobs.c


class JobQueue:
    """Reads and writes of the queue; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def waiting(self) -> list[StoredJob]:
        """All that wait for their turn, rented or not, the next one first."""
        async with self._database.reading() as connection:
            return await _waiting(connection)

    @uninterrupted
    async def open_on_own_hosts(self) -> list[StoredJob]:
        """All jobs on machines that are not rented, but those that have ended."""
        async with self._database.reading() as connection:
            return await _jobs(connection, _is_open_on_own_host())

    @uninterrupted
    async def taken_by_own_hosts(self) -> list[str]:
        """Ids of those that do not wait for their turn; cheap, however many do."""
        query = select(_COLUMNS.id).where(_is_open_on_own_host(), ~_COLUMNS.waits_for_turn)
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))

    @uninterrupted
    async def move(self, job_id: str, place: int) -> list[StoredJob]:
        """Let a waiting job stand at `place`, counted from 1; returns all that wait, in order.

        Raises:
            InvalidInput: it does not wait for its turn.
        """
        now = utc_now()
        async with self._database.writing() as connection:
            waiting = await _waiting(connection, lock=True)
            if job_id not in [job.job_id for job in waiting]:
                raise InvalidInput(
                    f"{job_id} does not wait for its turn; `brightrun queue` lists those that do."
                )
            moved = places_after_move(waiting, job_id, place, now.timestamp())
            for each, value in moved.items():
                statement = update(training_jobs).where(_COLUMNS.id == each)
                values = {"queue_place": value, "updated_at": now}
                await connection.execute(statement.values(values))
            return await _waiting(connection)

    @uninterrupted
    async def claim(
        self,
        limits: TurnLimits,
        stale_before: datetime,
        *,
        away: Collection[str] = (),
        not_there: Collection[str] = (),
    ) -> list[StoredJob]:
        """Give the next jobs their turn, and take over claims that nobody has held since a moment.

        The caller hands these jobs over to their hosts. `away` and `not_there` are as for
        `next_turns`.
        """
        async with self._database.writing() as connection:
            jobs = await _jobs(connection, _is_open_on_own_host(), lock=True)
            dropped = [
                job
                for job in jobs
                if has_turn(job) and job.updated_at <= stale_before and job.host not in away
            ]
            chosen = next_turns(jobs, limits, away=away, not_there=not_there)
            changes = {"activity": Activity.CONNECTING, "detail": ""}
            return [await _changed(connection, job, changes) for job in [*dropped, *chosen]]

    @uninterrupted
    async def hold(self, job_id: str, detail: str) -> bool:
        """Keep a claim from growing old, and say what is being done; False if it is none."""
        return await self._change_turn(job_id, {"detail": detail}) is not None

    @uninterrupted
    async def release(self, job_id: str, reason: str) -> bool:
        """Give a turn back: the job waits again, with the reason; False if it had none."""
        changes = {"activity": Activity.WAITING_FOR_TURN, "detail": reason}
        return await self._change_turn(job_id, changes) is not None

    @uninterrupted
    async def handed_over(self, job_id: str) -> None:
        """Its host has the job: it waits no more."""
        statement = update(training_jobs).where(_COLUMNS.id == job_id, _COLUMNS.waits_for_turn)
        values = {"waits_for_turn": False, "updated_at": utc_now()}
        async with self._database.writing() as connection:
            await connection.execute(statement.values(values))

    @uninterrupted
    async def withdraw(self, job_id: str, reason: str) -> StoredJob | None:
        """Cancel a job whose turn has not come; None if it has, or if it never waited.

        Then its host has to be asked.
        """
        async with self._database.writing() as connection:
            for job in await _jobs(connection, _COLUMNS.id == job_id, lock=True):
                if job.waits_for_turn and not has_turn(job) and not job.status.is_final:
                    changes = {
                        "status": JobStatus.CANCELLED,
                        "activity": None,
                        "detail": reason,
                        "ended_at": utc_now(),
                    }
                    return await _changed(connection, job, changes, reason)
        return None

    async def _change_turn(self, job_id: str, changes: Mapping[str, Any]) -> StoredJob | None:
        async with self._database.writing() as connection:
            for job in await _jobs(connection, _COLUMNS.id == job_id, lock=True):
                if has_turn(job) and not job.status.is_final:
                    return await _changed(connection, job, changes)
        return None


def _is_open_on_own_host() -> ColumnElement[bool]:
    is_rented = _COLUMNS.id.in_(select(rentals.c.training_job_id))
    return _COLUMNS.status.not_in(_FINAL) & ~is_rented


async def _waiting(connection: AsyncConnection, *, lock: bool = False) -> list[StoredJob]:
    queued = select(rentals.c.training_job_id).where(rentals.c.phase == RentalPhase.QUEUED.value)
    on_own_host = _COLUMNS.waits_for_turn & (_COLUMNS.activity == Activity.WAITING_FOR_TURN.value)
    condition = _COLUMNS.status.not_in(_FINAL) & or_(on_own_host, _COLUMNS.id.in_(queued))
    return in_order(await _jobs(connection, condition, lock=lock))


async def _jobs(
    connection: AsyncConnection, condition: ColumnElement[bool], *, lock: bool = False
) -> list[StoredJob]:
    query = select(training_jobs).where(condition).order_by(_COLUMNS.id)
    if lock:  # SQLite leaves it out: there the whole transaction has its turn.
        query = query.with_for_update()
    return [rows.job_of(row) for row in (await connection.execute(query)).mappings()]


async def _changed(
    connection: AsyncConnection,
    job: StoredJob,
    changes: Mapping[str, Any],
    error_message: str | None = None,
) -> StoredJob:
    """The job with changes to its state, written down; always as of now."""
    state = job.state.model_copy(update=changes)
    values = rows.state_columns(state, error_message, utc_now())
    await connection.execute(update(training_jobs).where(_COLUMNS.id == job.job_id).values(values))
    written = await _jobs(connection, _COLUMNS.id == job.job_id)
    return written[0]
