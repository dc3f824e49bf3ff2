"""One database and its transactions: what every part of the store stands on.

Knows nothing of what is in the tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.store.engine import READS_ONLY
from shared.store.failures import translated
from shared.store.upsert import upsert_into


class Database:
    """Hands out connections, for one transaction each."""

    def __init__(self, engine: AsyncEngine, where: str) -> None:
        self.engine = engine
        self.transactions: set[asyncio.Future[Any]] = set()
        """Those of all parts of the store that are at work now."""
        self._where = where
        self._turn = asyncio.Lock()

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; this process's own take turns in the order they came."""
        # SQLite's own waiting looks again after ever longer naps, and who waits longest may starve.
        async with self._turn:
            with translated(self._where):
                async with self.engine.begin() as connection:
                    yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads, and so waits for nobody."""
        engine = self.engine.execution_options(**{READS_ONLY: True})
        with translated(self._where):
            async with engine.connect() as connection:
                yield connection

    async def upsert(
        self, connection: AsyncConnection, table: Table, alike: list[dict[str, Any]]
    ) -> None:
        """Insert rows of the same columns; one whose primary key is there overwrites those."""
        statement = upsert_into(table, tuple(alike[0]), self.dialect)
        await connection.execute(statement, alike)
