"""Databases as earlier versions left them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine


@contextmanager
def database_at(database: Path, revision: str) -> Iterator[Connection]:
    """A new database with the tables of this revision, to be filled."""
    database.parent.mkdir()
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", "shared.store:migrations")
        config.set_main_option("path_separator", "os")
        command.upgrade(config, revision)
        yield connection
    engine.dispose()
