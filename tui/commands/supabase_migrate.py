"""`brightrun supabase migrate`: our schema into the project's database, or onto stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from getpass import getpass
from urllib.parse import quote, urlsplit

from shared.errors import InvalidInput
from tui import exit_codes
from tui.commands.output import say, say_line
from tui.commands.terminal_session import interruptible
from tui.services.supabase.migration import SCHEMA_VERSION, migrate, migration_sql

URL_VARIABLE = "SUPABASE_DB_URL"
PASSWORD_VARIABLE = "SUPABASE_DB_PASSWORD"
SCHEMA_VARIABLE = "BRIGHTRUN_SUPABASE_SCHEMA"


def print_migration(schema: str | None, environ: Mapping[str, str] = os.environ) -> int:
    """The SQL alone on stdout.

    Raises:
        InvalidInput: our tables cannot stand in a schema of that name.
    """
    sys.stdout.write(migration_sql(_schema(schema, environ)))
    return exit_codes.OK


async def run_migration(
    database_url: str | None, schema: str | None, environ: Mapping[str, str] = os.environ
) -> int:
    """Apply it, and say what was done.

    Raises:
        InvalidInput: no database is named, or its password stands on the command line.
        SupabaseError: as `migrate`.
    """
    name = _schema(schema, environ)
    done = await migrate(_database_url(database_url, environ), name)
    for warning in done.warnings:
        say(f"note: {warning}")
    what = "are up to date" if done.was_there else "were made"
    say_line(f"Tables, rules and buckets {what}: schema {name}, version {SCHEMA_VERSION}.")
    if name != "public":
        say_line(
            f"Two things are left to do: add {name} to the exposed schemas in the project's API "
            f"settings, and set {SCHEMA_VARIABLE}={name} wherever brightrun runs."
        )
    return exit_codes.OK


def _schema(schema: str | None, environ: Mapping[str, str]) -> str:
    return schema or environ.get(SCHEMA_VARIABLE, "").strip() or "public"


def _database_url(typed: str | None, environ: Mapping[str, str]) -> str:
    if typed is None:
        url = environ.get(URL_VARIABLE, "").strip()
        if not url:
            raise InvalidInput(
                f"No database is named: set {URL_VARIABLE}, or give --database-url. The project's "
                "page shows it under Connect. `--print` writes the SQL for other tools."
            )
    else:
        url = typed
    if _password_in(url):
        if typed is not None:
            raise InvalidInput(
                "--database-url: everybody on this machine can read a command's arguments, so "
                f"leave the password out: it is asked for, or read from {PASSWORD_VARIABLE}."
            )
        return url
    password = environ.get(PASSWORD_VARIABLE, "") or _asked_password()
    return _with_password(url, password) if password else url


def _password_in(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ":" in url and "@" in url
    return bool(parts.password) or "password=" in parts.query


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0] if at else "postgres"
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def _asked_password() -> str:
    """ "" where nobody is there: some databases need none, or ~/.pgpass has it."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    return interruptible(lambda: getpass("Password of the database: ", stream=sys.stderr))
