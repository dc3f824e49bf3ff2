"""Completes job ids and versions of models in the shell.

Reads the database directly: SQLAlchemy is too slow for a tab.
"""

from __future__ import annotations

from tui.config import load_config


def complete_job_id(incomplete: str) -> list[str]:
    """The newest ids that begin so; nothing at all if the database cannot be read."""
    return _found(
        "SELECT id FROM training_jobs WHERE substr(id, 1, length(?1)) = ?1 "
        "ORDER BY created_at DESC LIMIT 50",
        incomplete,
    )


def complete_version(incomplete: str) -> list[str]:
    """`NAME:VERSION` of what begins so, the newest first; as above."""
    return _found(
        "SELECT model_name || ':' || version AS reference FROM model_versions "
        "WHERE deleted_at IS NULL AND substr(reference, 1, length(?1)) = ?1 "
        "ORDER BY created_at DESC LIMIT 50",
        incomplete,
    )


def _found(query: str, incomplete: str) -> list[str]:
    import sqlite3
    from contextlib import closing

    path = load_config().database_path
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return [row[0] for row in connection.execute(query, (incomplete,))]
    except sqlite3.Error:
        return []
