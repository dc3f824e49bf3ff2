"""What an answer of Supabase that says no means for whoever asked; no network.

The database's API says it with PostgreSQL's SQLSTATE or a code of its own; the gateway before it
only with a status. Storage says it in the body, and its status is mostly 400.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.clean_text import clean_line
from shared.errors import (
    SchemaMismatch,
    SupabaseError,
    SupabaseRefused,
    SupabaseUnauthorized,
    SupabaseUnreachable,
)
from shared.redaction import redact

_LONGEST = 300
_TOKEN_CODES = ("PGRST301", "PGRST302", "PGRST303")
"""301 to PostgREST 12, 303 later for a token that has expired."""
_SHAPE_CODES = ("42P01", "42703", "42883", "3F000", "PGRST106", "PGRST202", "PGRST204", "PGRST205")
"""A table, a column, a function or a schema that is not there, by PostgreSQL and by PostgREST."""
_LATER_CLASSES = ("08", "25", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE that have to do with the server and not with the row."""
_NOT_ALLOWED = "42501"


def of_rows(
    status: int, body: bytes, headers: Mapping[str, str], now: datetime | None = None
) -> SupabaseError:
    """What an answer of the tables' API with status 400 or more says."""
    code, message = _words_of(body)
    message = message or f"HTTP {status}"
    # PostgREST 12 says no more than 404 of a table that it does not know at all.
    if code in _SHAPE_CODES or (status == 404 and not code):
        return SchemaMismatch(
            f"Supabase has not the tables that are needed: {message}. Run `brightrun supabase "
            "migrate`, or set BRIGHTRUN_SUPABASE_SCHEMA to a schema of their own."
        )
    if code in _TOKEN_CODES or (not code and status in (401, 403)):
        return SupabaseUnauthorized(
            f"Supabase does not accept the key or login: {message}. "
            "Log in with `brightrun supabase login`, or mend the key."
        )
    if _is_for_later(status, code):
        return SupabaseUnreachable(
            f"Supabase cannot answer now: {message}.", retry_after_s(headers, now)
        )
    if code == _NOT_ALLOWED:
        return SupabaseRefused(
            f"Supabase does not allow it: {message}. The row belongs to another user, or this "
            "login may not write.",
            code,
        )
    return SupabaseRefused(f"Supabase refuses: {message} ({code or status}).", code)


def _is_for_later(status: int, code: str) -> bool:
    if status == 429 or code.startswith("PGRST00"):
        return True
    # PostgREST 12.0.2 says no more where its connection to the database breaks under a request.
    if status == 400 and not code:
        return True
    is_sqlstate = len(code) == 5 and not code.startswith("PGRST")
    return code.startswith(_LATER_CLASSES) if is_sqlstate else status >= 500


def of_storage(status: str, message: str) -> SupabaseError:
    """By the status in the body of a storage answer."""
    message = _clean(message)
    if status == "401" or "claim timestamp" in message or "jwt" in message.lower():
        return SupabaseUnauthorized(f"Supabase Storage does not accept the login: {message}.")
    if status == "429" or status.startswith("5"):
        return SupabaseUnreachable(f"Supabase Storage cannot answer now: {message}.")
    return SupabaseRefused(f"Supabase Storage refuses: {message} ({status}).", status)


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """`Retry-After`, in seconds or as a date; None where it does not say."""
    said = headers.get("retry-after", "")
    if said.isdigit():
        return float(said)
    moment = http_date(said)
    if moment is None:
        return None
    server_now = now or http_date(headers.get("date", "")) or datetime.now(UTC)
    return max((moment - server_now).total_seconds(), 0.0)


def http_date(text: str) -> datetime | None:
    """The moment in a `Date` header; None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _words_of(body: bytes) -> tuple[str, str]:
    """(code, message) of a JSON body; of any other nothing."""
    try:
        said = json.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(said, dict):
        return "", ""
    code = said.get("code")
    message = said.get("message") or said.get("msg") or ""
    return code if isinstance(code, str) else "", _clean(str(message))


def _clean(message: str) -> str:
    return redact(clean_line(message)).rstrip(".")[:_LONGEST]
