"""Rows of the web application's `training_files` whose bytes are here, or came from here.

Knows tables and values only. A row's bytes may change there: the latest that were fetched are kept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import select

from shared.store.database import Database
from shared.store.schema import web_training_files
from shared.store.uninterrupted import uninterrupted


@dataclass(frozen=True, slots=True)
class WebFile:
    """One row there, and its bytes here."""

    id: str
    """A UUID."""
    sha256: str
    """Of the bytes at `path` when they were fetched or registered."""
    name: str
    path: str
    fetched_at: datetime


class WebTrainingFiles:
    """Reads and writes; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def put(self, file: WebFile) -> None:
        """It is here; what was here of the same row before is forgotten."""
        async with self._database.writing() as connection:
            await self._database.upsert(connection, web_training_files, [asdict(file)])

    @uninterrupted
    async def get(self, file_id: str) -> WebFile | None:
        """None where it was never fetched."""
        query = select(web_training_files).where(web_training_files.c.id == file_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else WebFile(**row)

    @uninterrupted
    async def all(self) -> dict[str, WebFile]:
        """By the row's id."""
        async with self._database.reading() as connection:
            found = (await connection.execute(select(web_training_files))).mappings().all()
        return {row["id"]: WebFile(**row) for row in found}
