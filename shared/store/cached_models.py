"""Which base models lie quantised on which network volume, as far as our own machines have seen.

Knows tables and values only. The volume itself has the last word: whoever looks there puts down
what there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from shared.model_cache import is_commit
from shared.store.database import Database
from shared.store.schema import cached_models
from shared.store.uninterrupted import uninterrupted


@dataclass(frozen=True, slots=True)
class ModelOnVolume:
    """One complete copy."""

    volume_id: str
    base_model: str
    revision: str
    """A commit of the hub."""
    size_bytes: int | None
    """None where nobody has said."""
    seen_at: datetime


class CachedModels:
    """Reads and writes of what is known; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def put(self, model: ModelOnVolume) -> None:
        """It was seen there."""
        async with self._database.writing() as connection:
            await self._database.upsert(connection, cached_models, [_row_of(model)])

    @uninterrupted
    async def replace_all(self, volume_id: str, found: Sequence[ModelOnVolume]) -> None:
        """These are all that there are on the volume."""
        there = cached_models.c.volume_id == volume_id
        async with self._database.writing() as connection:
            await connection.execute(delete(cached_models).where(there))
            if found:
                rows = [_row_of(model) for model in found]
                await self._database.upsert(connection, cached_models, rows)

    @uninterrupted
    async def all(self) -> list[ModelOnVolume]:
        """Of every volume, by name."""
        columns = cached_models.c
        query = select(cached_models).order_by(
            columns.volume_id, columns.base_model, columns.revision
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [ModelOnVolume(**row) for row in found]

    @uninterrupted
    async def volumes_with(self, base_model: str, revision: str | None = None) -> list[str]:
        """Ids of the volumes with a copy of the model; what is no commit stands for any."""
        columns = cached_models.c
        query = select(columns.volume_id).where(columns.base_model == base_model).distinct()
        if is_commit(revision):
            query = query.where(columns.revision == revision)
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))


def _row_of(model: ModelOnVolume) -> dict[str, object]:
    return {
        "volume_id": model.volume_id,
        "base_model": model.base_model,
        "revision": model.revision,
        "size_bytes": model.size_bytes,
        "seen_at": model.seen_at,
    }
