"""What was foreseen of each job, and what it took in the end.

Knows tables and values, and neither arithmetic nor jobs: what they mean is for others to say. A
row that another version wrote and this one cannot read is passed over, since nothing hangs on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import RowMapping, select, update

from shared.forecast.actual import Actual
from shared.forecast.forecast import Forecast
from shared.store.database import Database
from shared.store.schema import forecasts
from shared.store.uninterrupted import uninterrupted
from shared.store.upsert import insert_into


@dataclass(frozen=True, slots=True)
class StoredForecast:
    """One job's forecast as it was when the job was started."""

    job_id: str
    made_at: datetime
    forecast: Forecast
    actual: Actual | None = None
    """None until the job has ended."""


class Forecasts:
    """Reads and writes of forecasts; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def put(self, job_id: str, forecast: Forecast, now: datetime) -> None:
        """Keep what is foreseen of a job; what was foreseen first stays."""
        row = {
            "training_job_id": job_id,
            "made_at": now,
            "forecast": json.loads(forecast.model_dump_json()),
        }
        statement = insert_into(forecasts, self._database.dialect).on_conflict_do_nothing()
        async with self._database.writing() as connection:
            await connection.execute(statement, [row])

    @uninterrupted
    async def settle(self, job_id: str, actual: Actual) -> None:
        """Keep what the job took; nothing happens where nothing was foreseen."""
        values = {"actual": json.loads(actual.model_dump_json())}
        statement = update(forecasts).where(forecasts.c.training_job_id == job_id).values(values)
        async with self._database.writing() as connection:
            await connection.execute(statement)

    @uninterrupted
    async def get(self, job_id: str) -> StoredForecast | None:
        """None for a job of which nothing was foreseen."""
        query = select(forecasts).where(forecasts.c.training_job_id == job_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _forecast_of(row)

    @uninterrupted
    async def all(self, since: datetime | None = None) -> list[StoredForecast]:
        """Newest first; only those that were made since then."""
        query = select(forecasts).order_by(forecasts.c.made_at.desc())
        if since is not None:
            query = query.where(forecasts.c.made_at >= since)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return list(_readable(found))


def _readable(found: Iterable[RowMapping]) -> Iterable[StoredForecast]:
    return (each for row in found if (each := _forecast_of(row)) is not None)


def _forecast_of(row: RowMapping) -> StoredForecast | None:
    try:
        return StoredForecast(
            job_id=row["training_job_id"],
            made_at=row["made_at"],
            forecast=Forecast.model_validate(row["forecast"]),
            actual=None if row["actual"] is None else Actual.model_validate(row["actual"]),
        )
    except ValidationError:
        return None
