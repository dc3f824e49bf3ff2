"""Where jobs' webhooks go, who delivers them now, and the messages that this end has to deliver.

A message belongs to one end at a time: the console has it until an agent takes it over, and again
once it has been taken back from there. Knows tables and values, and sends nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.store.database import Database
from shared.store.schema import webhook_messages, webhook_targets
from shared.store.uninterrupted import uninterrupted
from shared.store.upsert import insert_into
from shared.webhook import WebhookMessage, WebhookTarget
from shared.webhook_protocol import Outcome

_TARGETS = webhook_targets.c
_MESSAGES = webhook_messages.c


class WebhookEnd(StrEnum):
    """Who delivers a job's webhooks."""

    CONSOLE = "console"
    AGENT = "agent"
    NOBODY = "nobody"
    """Everything is settled."""


@dataclass(frozen=True, slots=True)
class StoredTarget:
    """Where one job's webhooks go."""

    job_id: str
    target: WebhookTarget
    sender: WebhookEnd


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message that this end has, or had."""

    message: WebhookMessage
    outcome: Outcome
    tries: int
    next_try_at: datetime | None
    """None: at once."""
    error: str
    """Of the last try."""


class WebhookRoom:
    """Reads and writes of webhooks; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def keep_target(self, job_id: str, target: WebhookTarget, first: WebhookMessage) -> None:
        """Write down where a job's webhooks go, with its first message; again, the place alone."""
        where = {
            "url": target.url,
            "interval_steps": target.interval_steps,
            "allow_private": target.allow_private,
        }
        row = {"training_job_id": job_id, "sender": WebhookEnd.CONSOLE.value, **where}
        statement = insert_into(webhook_targets, self._database.dialect).on_conflict_do_update(
            index_elements=["training_job_id"], set_=where
        )
        async with self._database.writing() as connection:
            await connection.execute(statement, [row])
            await self._add(connection, job_id, [first])

    @uninterrupted
    async def target(self, job_id: str) -> StoredTarget | None:
        """None for a job of which nobody is told."""
        query = select(webhook_targets).where(_TARGETS.training_job_id == job_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _target_of(row)

    @uninterrupted
    async def open(self) -> list[StoredTarget]:
        """Of all jobs for which there is or will be something to deliver."""
        query = (
            select(webhook_targets)
            .where(_TARGETS.sender != WebhookEnd.NOBODY.value)
            .order_by(_TARGETS.training_job_id)
        )
        async with self._database.reading() as connection:
            return [_target_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def messages(self, job_id: str) -> list[StoredMessage]:
        """In the order in which they go out."""
        query = (
            select(webhook_messages)
            .where(_MESSAGES.training_job_id == job_id)
            .order_by(_MESSAGES.place)
        )
        async with self._database.reading() as connection:
            return [_message_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def add(self, job_id: str, messages: Sequence[WebhookMessage]) -> None:
        """To be delivered from here after all others; those that are there stay as they are."""
        async with self._database.writing() as connection:
            await self._add(connection, job_id, messages)

    @uninterrupted
    async def handed_over(self, job_id: str, message_ids: Collection[str]) -> None:
        """The agent delivers from now on, these messages too."""
        taken = (
            update(webhook_messages)
            .where(_MESSAGES.id.in_(message_ids), _MESSAGES.state == "waiting")
            .values(state="handed_over")
        )
        async with self._database.writing() as connection:
            await connection.execute(taken)
            await _set_sender(connection, job_id, WebhookEnd.AGENT)

    @uninterrupted
    async def taken_back(self, job_id: str, messages: Sequence[WebhookMessage]) -> None:
        """The agent delivers no more, and this is what it has not delivered."""
        async with self._database.writing() as connection:
            ids = [message.id for message in messages]
            back = _MESSAGES.id.in_(ids) & (_MESSAGES.state == "handed_over")
            await connection.execute(
                update(webhook_messages).where(back).values(state="waiting", next_try_at=None)
            )
            await self._add(connection, job_id, messages)
            await _set_sender(connection, job_id, WebhookEnd.CONSOLE)

    @uninterrupted
    async def close(self, job_id: str) -> None:
        """Nothing will be delivered any more."""
        async with self._database.writing() as connection:
            await _set_sender(connection, job_id, WebhookEnd.NOBODY)

    @uninterrupted
    async def note_try(
        self,
        message_ids: Collection[str],
        outcome: Outcome,
        error: str = "",
        next_try_at: datetime | None = None,
    ) -> None:
        """What became of one more try."""
        values = {
            "state": outcome,
            "error": error,
            "next_try_at": next_try_at,
            "tries": _MESSAGES.tries + 1,
        }
        statement = update(webhook_messages).where(_MESSAGES.id.in_(message_ids))
        async with self._database.writing() as connection:
            await connection.execute(statement.values(values))

    async def _add(
        self, connection: AsyncConnection, job_id: str, messages: Sequence[WebhookMessage]
    ) -> None:
        last = select(func.max(_MESSAGES.place)).where(_MESSAGES.training_job_id == job_id)
        place = await connection.scalar(last)
        insert = insert_into(webhook_messages, self._database.dialect).on_conflict_do_nothing()
        for number, message in enumerate(messages, start=0 if place is None else place + 1):
            row: dict[str, Any] = {
                "id": message.id,
                "training_job_id": job_id,
                "place": number,
                "body": message.body,
                "created_at": message.created_at,
                "state": "waiting",
                "tries": 0,
                "next_try_at": None,
                "error": "",
            }
            await connection.execute(insert, [row])


async def _set_sender(connection: AsyncConnection, job_id: str, sender: WebhookEnd) -> None:
    statement = update(webhook_targets).where(_TARGETS.training_job_id == job_id)
    await connection.execute(statement.values(sender=sender.value))


def _target_of(row: RowMapping) -> StoredTarget:
    target = WebhookTarget(
        url=row["url"], interval_steps=row["interval_steps"], allow_private=row["allow_private"]
    )
    return StoredTarget(row["training_job_id"], target, WebhookEnd(row["sender"]))


def _message_of(row: RowMapping) -> StoredMessage:
    message = WebhookMessage(id=row["id"], body=row["body"], created_at=row["created_at"])
    return StoredMessage(message, row["state"], row["tries"], row["next_try_at"], row["error"])
