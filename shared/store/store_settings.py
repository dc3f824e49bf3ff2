"""What every console and `serve` of one store have to agree on: limits of money and number.

Whoever reads one that nobody has set gets its usual value.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from shared.events import utc_now
from shared.store.database import Database
from shared.store.schema import store_settings
from shared.store.uninterrupted import uninterrupted

CONCURRENT_JOBS = "concurrent_jobs"
"""Rented jobs that run at once; a whole number."""
MONTHLY_LIMIT_USD = "monthly_limit_usd"
"""For all rented machines and volumes of a calendar month (UTC)."""

OWN_HOST_JOBS = "own_host_jobs"
"""Jobs of the queue that run at once on one machine of the user's own; a whole number."""

USUAL_CONCURRENT_JOBS = 3
USUAL_OWN_HOST_JOBS = 1
"""Two jobs on one GPU would have half of it each, or run out of its memory."""
USUAL_MONTHLY_LIMIT_USD = 500.0

ValueT = TypeVar("ValueT", int, float, str)


class StoreSettings:
    """Reads and writes of settings; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def get(self, name: str, usual: ValueT) -> ValueT:
        """The value that was set, if it is of the usual value's type; else the usual value."""
        query = select(store_settings.c.value).where(store_settings.c.name == name)
        async with self._database.reading() as connection:
            value = await connection.scalar(query)
        try:
            return TypeAdapter(type(usual)).validate_python(value)
        except ValidationError:  # Never set, or by a version that had another type.
            return usual

    @uninterrupted
    async def put(self, name: str, value: int | float | str) -> None:
        """Set it for everybody."""
        row = {"name": name, "value": value, "updated_at": utc_now()}
        async with self._database.writing() as connection:
            await self._database.upsert(connection, store_settings, [row])

    async def concurrent_jobs(self) -> int:
        """How many rented jobs run at once."""
        return await self.get(CONCURRENT_JOBS, USUAL_CONCURRENT_JOBS)

    async def own_host_jobs(self) -> int:
        """How many jobs of the queue run at once on one machine of the user's own."""
        return await self.get(OWN_HOST_JOBS, USUAL_OWN_HOST_JOBS)

    async def monthly_limit_usd(self) -> float:
        """What all machines and volumes of a month may cost before consent is asked for."""
        return await self.get(MONTHLY_LIMIT_USD, USUAL_MONTHLY_LIMIT_USD)
