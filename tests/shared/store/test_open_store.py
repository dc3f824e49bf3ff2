from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine

from shared.errors import StoreError
from shared.store.schema import HEAD_REVISION, metadata
from shared.store.store import open_store
from tests.shared.store.journal import job_spec


async def test_a_new_database_has_the_tables_that_the_schema_declares(database: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    async with open_store(database):
        pass

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


def test_the_head_revision_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "shared.store:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD_REVISION]


async def test_opening_a_migrated_database_does_not_import_alembic(database: Path) -> None:
    async with open_store(database):
        pass
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from shared.store.store import open_store\n"
        "async def main():\n"
        "    async with open_store(Path(sys.argv[1])) as store:\n"
        "        assert await store.list_jobs() == []\n"
        "asyncio.run(main())\n"
        "assert 'alembic' not in sys.modules\n"
    )

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(database))

    assert await process.wait() == 0


async def test_the_database_runs_in_wal_mode(database: Path) -> None:
    async with open_store(database):
        raw = sqlite3.connect(database)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        raw.close()


async def test_a_file_that_is_no_database_is_named_with_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "brightrun.db"
    path.write_bytes(b"this is not SQLite" * 100)

    with pytest.raises(StoreError, match=r"brightrun\.db: file is not a database\. Move it aside"):
        async with open_store(path):
            pass

    assert path.read_bytes().startswith(b"this is not SQLite")


async def test_a_damaged_database_is_a_store_error(database: Path) -> None:
    async with open_store(database):
        pass
    content = bytearray(database.read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    database.write_bytes(content)

    with pytest.raises(StoreError, match=r"malformed\. Move it aside"):
        async with open_store(database) as store:
            await store.list_jobs()


async def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    for path in (tmp_path / "file" / "brightrun.db", tmp_path):
        with pytest.raises(StoreError, match=str(tmp_path)):
            async with open_store(path):
                pass


async def test_a_read_only_database_is_a_store_error(database: Path) -> None:
    async with open_store(database):
        pass
    # `immutable` makes SQLite refuse writes whoever runs the test, root included.
    url = f"sqlite+aiosqlite:///file:{database}?immutable=1&uri=true"

    with pytest.raises(StoreError, match="readonly"):
        async with open_store(url) as store:
            await store.add_job(job_spec(), "local")


async def test_a_database_of_a_newer_version_is_left_alone(database: Path) -> None:
    async with open_store(database):
        pass
    with sqlite3.connect(database) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()

    with pytest.raises(StoreError, match="newer brightrun"):
        async with open_store(database):
            pass


async def test_a_locked_database_says_that_another_one_writes(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.store.engine._BUSY_TIMEOUT_S", 0.1)
    async with open_store(database) as store:
        raw = sqlite3.connect(database, isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        assert await store.list_jobs() == []  # Reading needs no turn.
        with pytest.raises(StoreError, match=r"locked\. Another brightrun"):
            await store.add_job(job_spec(), "local")
        raw.close()


def test_the_migrations_are_in_the_package() -> None:
    listing = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlib.resources import files\n"
            "print(*(entry.name for entry in files('shared.store.migrations').iterdir()))",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert {"env.py", "versions"} <= set(listing.stdout.split())
