"""What people are told of: each event once, and who has it already.

Knows tables and values, and neither how anybody is reached nor a clock of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, delete, select, update

from shared.notification import Notification, NotificationKind
from shared.store.database import Database
from shared.store.schema import notifications, uploads, web_training_files
from shared.store.uninterrupted import uninterrupted
from shared.store.upsert import insert_into


class NotificationState(StrEnum):
    """How far one has come."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    """Nobody could be reached for too long."""
    SILENT = "silent"
    """Nobody wanted to know."""


@dataclass(frozen=True, slots=True)
class StoredNotification:
    """One event, and who has heard of it."""

    notification: Notification
    state: NotificationState
    sent_to: frozenset[str] = frozenset()
    """Marks of the receivers that have it."""
    tries: int = 0
    next_try_at: datetime | None = None
    error: str = ""


class Notifications:
    """Reads and writes; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def add(
        self, found: Sequence[Notification], wanted: Collection[NotificationKind]
    ) -> list[str]:
        """Write down what is new; what is not `wanted` is never sent. Returns the new ids."""
        fresh = []
        async with self._database.writing() as connection:
            for one in found:
                waits = one.kind in wanted
                state = NotificationState.WAITING if waits else NotificationState.SILENT
                statement = insert_into(notifications, self._database.dialect)
                statement = statement.on_conflict_do_nothing().values(_row_of(one, state))
                if (await connection.execute(statement)).rowcount == 1:
                    fresh.append(one.id)
        return fresh

    @uninterrupted
    async def known(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that are written down already."""
        query = select(notifications.c.id).where(notifications.c.id.in_(list(ids)))
        async with self._database.reading() as connection:
            return set(await connection.scalars(query))

    @uninterrupted
    async def due(self, now: datetime) -> list[StoredNotification]:
        """Those that wait and may be tried now, oldest first."""
        columns = notifications.c
        query = (
            select(notifications)
            .where(columns.state == NotificationState.WAITING.value)
            .order_by(columns.time, columns.id)
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        waiting = [_stored_of(row) for row in found]
        return [one for one in waiting if one.next_try_at is None or one.next_try_at <= now]

    @uninterrupted
    async def save(self, stored: StoredNotification) -> None:
        """Write down how far it has come."""
        values = {
            "state": stored.state.value,
            "sent_to": sorted(stored.sent_to),
            "tries": stored.tries,
            "next_try_at": stored.next_try_at,
            "error": stored.error,
        }
        there = notifications.c.id == stored.notification.id
        async with self._database.writing() as connection:
            await connection.execute(update(notifications).where(there).values(values))

    @uninterrupted
    async def latest(self, count: int) -> list[StoredNotification]:
        """Newest first."""
        columns = notifications.c
        query = select(notifications).order_by(columns.time.desc(), columns.id).limit(count)
        async with self._database.reading() as connection:
            return [_stored_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def forget_before(self, moment: datetime) -> None:
        """Leave out what is this old and waits no more."""
        columns = notifications.c
        waits = columns.state == NotificationState.WAITING.value
        statement = delete(notifications).where(columns.time < moment).where(~waits)
        async with self._database.writing() as connection:
            await connection.execute(statement)

    @uninterrupted
    async def adapters_verified_since(self, moment: datetime) -> list[tuple[str, int, datetime]]:
        """(job id, attempt, when) of adapters that were read back from the web's storage."""
        columns = uploads.c
        query = (
            select(columns.training_job_id, columns.attempt, columns.updated_at)
            .where(columns.artifact_type == "lora_adapter")
            .where(columns.state == "verified", columns.updated_at > moment)
            .order_by(columns.updated_at)
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).all()
        return [(row.training_job_id, row.attempt, row.updated_at) for row in found]

    @uninterrupted
    async def files_fetched_since(self, moment: datetime) -> list[tuple[str, str, str, datetime]]:
        """(id, name, sha256, when) of training files that have come from the web application."""
        columns = web_training_files.c
        query = (
            select(columns.id, columns.name, columns.sha256, columns.fetched_at)
            .where(columns.fetched_at > moment)
            .order_by(columns.fetched_at)
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).all()
        return [(row.id, row.name, row.sha256, row.fetched_at) for row in found]


def after_try(
    stored: StoredNotification, sent_to: Collection[str], error: str, next_try_at: datetime | None
) -> StoredNotification:
    """One more try was made; without an error everybody has it."""
    return replace(
        stored,
        sent_to=stored.sent_to | frozenset(sent_to),
        tries=stored.tries + 1,
        next_try_at=next_try_at if error else None,
        error=error,
        state=stored.state if error else NotificationState.SENT,
    )


def _row_of(one: Notification, state: NotificationState) -> dict[str, Any]:
    return {
        "id": one.id,
        "training_job_id": one.job_id,
        "kind": one.kind.value,
        "time": one.time,
        "title": one.title,
        "body": one.body,
        "is_urgent": one.is_urgent,
        "state": state.value,
        "sent_to": [],
        "tries": 0,
        "next_try_at": None,
        "error": "",
    }


def _stored_of(row: RowMapping) -> StoredNotification:
    notification = Notification(
        row["id"],
        NotificationKind(row["kind"]),
        row["time"],
        row["title"],
        row["body"],
        row["training_job_id"],
        row["is_urgent"],
    )
    return StoredNotification(
        notification,
        NotificationState(row["state"]),
        frozenset(row["sent_to"]),
        row["tries"],
        row["next_try_at"],
        row["error"],
    )
