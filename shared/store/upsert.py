"""INSERTs that know what to do with a row that is there, for both databases."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT: the same words in both dialects."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


@cache  # Putting it together costs a fifth of storing a small batch.
def upsert_into(
    table: Table, columns: tuple[str, ...], dialect: str
) -> sqlite.Insert | postgresql.Insert:
    """An INSERT of these columns that overwrites them where the primary key is there already."""
    key = [column.name for column in table.primary_key]
    statement = insert_into(table, dialect)
    changed = {name: statement.excluded[name] for name in columns if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
