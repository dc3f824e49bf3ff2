"""Looks into a database without changing it, making it or bringing its tables up to date."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from shared.errors import StoreError
from shared.store.failures import translated

_TIMEOUT_S = 2.0


def database_revision(path: Path) -> str | None:
    """The schema of an SQLite database that is in order; None for one without tables. Blocks.

    Raises:
        StoreError: it cannot be read, or is damaged.
    """
    # Not mode=ro, which leaves the files of the write-ahead log behind. Neither makes a database.
    uri = f"file:{quote(str(path))}?mode=rw"
    with (
        translated(str(path)),
        closing(sqlite3.connect(uri, uri=True, timeout=_TIMEOUT_S)) as connection,
    ):
        connection.execute("PRAGMA query_only = ON")
        [(verdict,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise StoreError(f"{path}: is damaged ({verdict}). Move it aside.")
        tables = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
        if connection.execute(tables).fetchone() == (0,):
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
