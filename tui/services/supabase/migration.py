"""Applies our schema to a Supabase project's database, in one transaction.

The only module that knows `asyncpg`. What the schema is stands in the SQL file beside it, which the
Supabase CLI takes as well. A database URL holds a password: it is in no message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.clean_text import clean_line
from shared.errors import (
    InvalidInput,
    SchemaMismatch,
    SupabaseError,
    SupabaseRefused,
    SupabaseUnauthorized,
    SupabaseUnreachable,
)

SCHEMA_VERSION = 1
"""What `brightrun_schema()` of the SQL file answers."""
OTHER_SHAPE = "BR001"
"""The SQLSTATE with which the SQL file refuses tables that are not ours."""
CONNECT_TIMEOUT_S = 15.0
LOCK_TIMEOUT_S = 10.0
"""A table that is in use is not waited for longer: whoever comes after would wait as well."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,29}")
"""Names of policies hold the schema's, and PostgreSQL cuts names at 63 characters."""
_RESERVED = frozenset({"auth", "storage", "extensions", "realtime", "vault", "graphql_public"})
_ABSENT = ("3F000", "42P01", "42883", "42704")
"""SQLSTATE of a schema, a table, a function or a role that is not there."""
_SUPABASES = re.compile(r"\b(auth|storage|anon|authenticated|service_role)\b")
_SQL = Path(__file__).parent / "sql" / "20261123000000_brightrun_training.sql"


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration has done."""

    schema: str
    was_there: bool
    """Our tables stood already, in this version or an older one."""
    warnings: tuple[str, ...]


def migration_sql(schema: str = "public") -> str:
    """The whole migration for this schema.

    Raises:
        InvalidInput: our tables cannot stand in a schema of that name.
    """
    if _NAME.fullmatch(schema) is None or schema in _RESERVED or schema.startswith("pg_"):
        raise InvalidInput(
            f"schema {schema!r}: take another name, of at most 30 small letters, digits and _."
        )
    text = _SQL.read_text(encoding="utf-8")
    if schema == "public":
        return text
    text = text.replace("public.", f'"{schema}".')
    text = text.replace("brightrun_public_", f"brightrun_{schema}_")
    return (
        f'create schema if not exists "{schema}";\n'
        f'grant usage on schema "{schema}" to authenticated, service_role;\n\n{text}'
    )


async def migrate(database_url: str, schema: str = "public") -> Migrated:
    """Make or renew our tables, rules and buckets; all of it or nothing. Safe to run again.

    Raises:
        InvalidInput: no URL of a PostgreSQL database, or no name for a schema.
        SchemaMismatch: tables of another shape stand there, or it is no Supabase project.
        SupabaseError: no answer, no access, or a statement is refused.
    """
    sql = migration_sql(schema)
    asyncpg = _library()
    warnings: list[str] = []
    try:
        connection = await asyncpg.connect(timeout=CONNECT_TIMEOUT_S, **_arguments(database_url))
    except asyncpg.ClientConfigurationError:
        # Its own words repeat what stands in the URL.
        raise InvalidInput("the database URL: one of the settings behind ? is none.") from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _connecting(error, database_url) from None
    connection.add_log_listener(lambda _, message: _keep_warning(warnings, message))
    try:
        async with connection.transaction():
            await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT_S:g}s'")
            was_there = await _has_our_tables(connection, schema)
            await connection.execute(sql)
    except asyncpg.PostgresError as error:
        raise _applying(error, schema) from error
    except (OSError, asyncpg.InterfaceError) as error:
        raise SupabaseUnreachable(
            "the database broke off; nothing has changed there. Run the migration again."
        ) from error
    finally:
        connection.terminate()
    return Migrated(schema, was_there, tuple(warnings))


def _library() -> Any:
    try:
        import asyncpg
    except ImportError as error:
        raise InvalidInput(
            'this needs a package that is not installed: pip install "brightrun[supabase]".'
        ) from error
    return asyncpg


def _arguments(database_url: str) -> dict[str, Any]:
    """For `asyncpg.connect`. Across a network the connection is always encrypted."""
    parts = _parts(database_url)
    arguments: dict[str, Any] = {"dsn": database_url, "statement_cache_size": 0}
    if parts.hostname not in _LOOPBACK and "sslmode" not in parse_qs(parts.query):
        arguments["ssl"] = "require"
    return arguments


def _parts(database_url: str) -> Any:
    try:
        parts = urlsplit(database_url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or port == 0:
        # Not repeated: there is a password in it.
        raise InvalidInput(
            "the database URL is none such as postgresql://postgres:PASSWORD@HOST:5432/postgres; "
            "special characters in the password are written as %40 and so on."
        )
    return parts


async def _has_our_tables(connection: Any, schema: str) -> bool:
    question = "select to_regprocedure($1) is not null"
    return bool(await connection.fetchval(question, f'"{schema}".brightrun_schema()'))


def _keep_warning(warnings: list[str], message: Any) -> None:
    if getattr(message, "severity", "") == "WARNING":
        warnings.append(clean_line(message.message))


def _connecting(error: Exception, database_url: str) -> SupabaseError:
    """Without the library's own words where they could hold what stands in the URL."""
    parts = urlsplit(database_url)
    where = f"{parts.hostname}:{parts.port or 5432}"
    state = getattr(error, "sqlstate", "") or ""
    if state.startswith("28"):
        return SupabaseUnauthorized(
            f"{where} does not accept the user or password in the database URL; the project's "
            "settings show it, under Database."
        )
    if state == "3D000":
        return SupabaseRefused(f"{where} has no database of the name in the URL.", state)
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return SupabaseUnreachable(
        f"the database at {where} does not answer ({why}). Check host and port; where only IPv6 "
        "leads to it, take the URL of the session pooler."
    )


def _applying(error: Any, schema: str) -> SupabaseError:
    said, state = clean_line(str(error.args[0])), str(error.sqlstate)
    if state == OTHER_SHAPE:
        other = "brightrun" if schema == "public" else "NAME"
        return SchemaMismatch(
            f"{said}. Nothing was changed. Keep it, and give our tables a schema of their own: "
            f"`brightrun supabase migrate --schema {other}`."
        )
    if state in _ABSENT and _SUPABASES.search(said):
        return SchemaMismatch(
            f"{said}: this is no database of a Supabase project. Nothing was changed."
        )
    if state == "55P03":
        return SupabaseUnreachable(
            "the tables are in use, or another migration runs; nothing has changed. Try again."
        )
    if state in ("23505", "23514"):
        return SupabaseRefused(
            f"rows that stand there already break a rule: {said}. Nothing was changed. "
            "Mend those rows first.",
            state,
        )
    if state == "42501":
        return SupabaseRefused(
            f"the user of the database URL may not do that: {said}. Take the user postgres.", state
        )
    return SupabaseRefused(f"the database refuses: {said} ({state}). Nothing was changed.", state)
