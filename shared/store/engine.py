"""Opens the database and brings its tables up to date.

SQLite runs in WAL mode, so that a watcher reads while another process writes. Every transaction
that may write begins with BEGIN IMMEDIATE: it waits for its turn at the start, where waiting is
harmless, instead of failing when it first writes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import StoreError
from shared.store.schema import HEAD_REVISION

READS_ONLY = "reads_only"
"""Execution option of connections that never write, and so need no turn."""

_BUSY_TIMEOUT_S = 10.0


def create_engine(where: str | Path) -> tuple[AsyncEngine, str]:
    """The engine for a path (SQLite) or a URL, and its name in messages, without a password."""
    if isinstance(where, str) and "://" in where:
        engine = create_async_engine(where)
        return engine, engine.url.render_as_string(hide_password=True)
    path = Path(where).expanduser().absolute()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # aiosqlite 0.22.1 does not wait for its thread when it cannot connect, and the thread then
    # complains that the loop is closed. What cannot be opened is found here instead.
    sqlite3.connect(path).close()
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", connect_args={"timeout": _BUSY_TIMEOUT_S}
    )
    _prepare_sqlite(engine)
    return engine, str(path)


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        # The driver must not begin transactions by itself; `on_begin` does.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # An intent is on the disk before anything is asked of a machine.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Connection) -> None:
        reads_only = connection.get_execution_options().get(READS_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


async def migrate(engine: AsyncEngine, where: str) -> None:
    """Bring the tables to `HEAD_REVISION`; free when they are there already.

    Raises:
        StoreError: the database was made by a newer version.
    """
    async with engine.execution_options(**{READS_ONLY: True}).connect() as connection:
        revision = await _revision(connection)
    if revision == HEAD_REVISION:
        return
    if revision is not None and revision > HEAD_REVISION:
        raise StoreError(
            f"{where}: was made by a newer brightrun (schema {revision}, this one knows "
            f"{HEAD_REVISION}). Upgrade brightrun."
        )
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


async def _revision(connection: AsyncConnection) -> str | None:
    if not await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version")):
        return None
    revision: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _upgrade(connection: Connection) -> None:
    # Alembic takes 0.2 s to import, and is needed once in the life of a database.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "shared.store:migrations")
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
