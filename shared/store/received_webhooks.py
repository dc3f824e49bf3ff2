"""Ids of webhooks that were taken, so that a second delivery is known for what it is."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete

from shared.store.database import Database
from shared.store.schema import received_webhooks
from shared.store.uninterrupted import uninterrupted
from shared.store.upsert import insert_into

KEPT_FOR = timedelta(days=7)
"""Senders try again for hours; a message that is older than minutes is refused by its time."""


class ReceivedWebhooks:
    """Reads and writes of those ids; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def take(self, message_id: str, now: datetime) -> bool:
        """True for the first delivery of a message; ids of long ago are forgotten."""
        columns = received_webhooks.c
        first = insert_into(received_webhooks, self._database.dialect).on_conflict_do_nothing()
        async with self._database.writing() as connection:
            await connection.execute(
                delete(received_webhooks).where(columns.received_at < now - KEPT_FOR)
            )
            row = {"id": message_id, "received_at": now}
            return (await connection.execute(first, row)).rowcount == 1
