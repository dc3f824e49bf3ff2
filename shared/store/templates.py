"""Templates by name. What is in one is for `shared.job_template` to say: here it is kept as it is,
also where another version has made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.store.database import Database
from shared.store.schema import job_templates
from shared.store.uninterrupted import uninterrupted


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """One template."""

    name: str
    settings: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


class Templates:
    """Reads and writes of templates; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def save(self, name: str, settings: Mapping[str, Any], *, replace: bool = False) -> None:
        """Keep settings under a name.

        Raises:
            InvalidInput: the name is taken, and is not to be replaced.
        """
        now = utc_now()
        columns = job_templates.c
        async with self._database.writing() as connection:
            query = select(columns.name).where(columns.name == name)
            if await connection.scalar(query) is None:
                values = {"name": name, "settings": dict(settings)}
                moments = {"created_at": now, "updated_at": now}
                await connection.execute(insert(job_templates), {**values, **moments})
                return
            if not replace:
                raise InvalidInput(
                    f"template {name!r}: there is one of that name. Choose another name, or say "
                    "that it is to be replaced."
                )
            statement = update(job_templates).where(columns.name == name)
            await connection.execute(statement.values(settings=dict(settings), updated_at=now))

    @uninterrupted
    async def get(self, name: str) -> StoredTemplate:
        """The template of that name.

        Raises:
            InvalidInput: there is none.
        """
        query = select(job_templates).where(job_templates.c.name == name)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise _unknown(name)
        return _template_of(row)

    @uninterrupted
    async def all(self) -> list[StoredTemplate]:
        """By name."""
        query = select(job_templates).order_by(job_templates.c.name)
        async with self._database.reading() as connection:
            return [_template_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def delete(self, name: str) -> None:
        """Forget a template; jobs that began with it stay as they are.

        Raises:
            InvalidInput: there is none of that name.
        """
        statement = delete(job_templates).where(job_templates.c.name == name)
        async with self._database.writing() as connection:
            if (await connection.execute(statement)).rowcount != 1:
                raise _unknown(name)


def _unknown(name: str) -> InvalidInput:
    return InvalidInput(f"template {name!r}: there is none. `brightrun template list` shows all.")


def _template_of(row: RowMapping) -> StoredTemplate:
    return StoredTemplate(**row)
