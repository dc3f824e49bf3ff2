"""The one place where the database's errors become ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shared.errors import StoreError

_DAMAGED = (
    "Move it aside; running jobs are not touched, and `brightrun machines HOST --adopt` takes the "
    "jobs of a machine into a new one."
)
_NEXT_STEPS = {
    sqlite3.SQLITE_BUSY: "Another brightrun is writing to it; try again in a moment.",
    sqlite3.SQLITE_LOCKED: "Another brightrun is writing to it; try again in a moment.",
    sqlite3.SQLITE_FULL: "Free some disk space and try again.",
    # Also a disk that is too full for the files beside the database.
    sqlite3.SQLITE_IOERR: "Check the disk: it may be full, or a network drive, which will not do.",
    sqlite3.SQLITE_READONLY: "Make the file and its directory writable.",
    sqlite3.SQLITE_PERM: "Make the file and its directory writable.",
    sqlite3.SQLITE_CANTOPEN: "Make the directory writable, or set BRIGHTRUN_HOME to another.",
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
}


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raises StoreError, with `where` and the next step, for any error of the database."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(f"{where}: {_words(error.orig)}") from error
    except sqlite3.Error as error:
        raise StoreError(f"{where}: {_words(error)}") from error
    except (SQLAlchemyError, OSError) as error:
        raise StoreError(f"{where}: {error}") from error


def _words(error: BaseException | None) -> str:
    # Extended codes carry the primary one in their low byte (sqlite.org/rescode.html, 2026-11).
    code = getattr(error, "sqlite_errorcode", None)
    next_step = _NEXT_STEPS.get(code & 0xFF, "") if isinstance(code, int) else ""
    return f"{str(error).rstrip('.')}. {next_step}".rstrip()
