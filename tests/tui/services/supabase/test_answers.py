from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from shared.errors import (
    SchemaMismatch,
    SupabaseError,
    SupabaseRefused,
    SupabaseUnauthorized,
    SupabaseUnreachable,
)
from tui.services.supabase.answers import of_rows, of_storage, retry_after_s


def answer(status: int, code: str | None = None, message: str = "as it is") -> SupabaseError:
    body = {"code": code, "message": message, "details": None, "hint": None}
    return of_rows(status, json.dumps(body).encode(), {})


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "42P01", SchemaMismatch),
        (404, "PGRST205", SchemaMismatch),
        (400, "PGRST204", SchemaMismatch),
        (400, "42703", SchemaMismatch),
        (404, "42883", SchemaMismatch),
        (406, "PGRST106", SchemaMismatch),
        (404, None, SchemaMismatch),
        (401, "PGRST301", SupabaseUnauthorized),
        (401, "PGRST303", SupabaseUnauthorized),
        (401, None, SupabaseUnauthorized),
        (403, None, SupabaseUnauthorized),
        (401, "42501", SupabaseRefused),
        (403, "42501", SupabaseRefused),
        (409, "23505", SupabaseRefused),
        (400, "23514", SupabaseRefused),
        (400, "22P02", SupabaseRefused),
        (500, "54000", SupabaseRefused),
        (400, None, SupabaseUnreachable),
        (429, None, SupabaseUnreachable),
        (500, None, SupabaseUnreachable),
        (503, "PGRST001", SupabaseUnreachable),
        (504, "PGRST003", SupabaseUnreachable),
        (500, "57014", SupabaseUnreachable),
        (500, "40001", SupabaseUnreachable),
        (503, "53300", SupabaseUnreachable),
    ],
)
def test_an_answer_says_who_has_to_do_something(
    status: int, code: str | None, kind: type[SupabaseError]
) -> None:
    assert type(answer(status, code)) is kind


def test_a_page_of_a_proxy_is_not_printed() -> None:
    error = of_rows(502, b"<html><h1>Bad gateway</h1></html>", {})
    assert type(error) is SupabaseUnreachable
    assert str(error) == "Supabase cannot answer now: HTTP 502."


def test_a_missing_table_says_what_to_do() -> None:
    error = answer(404, "42P01", 'relation "public.training_jobs" does not exist')
    assert "training_jobs" in str(error)
    assert "brightrun supabase migrate" in str(error)


def test_a_refusal_keeps_its_code() -> None:
    error = answer(400, "23514")
    assert isinstance(error, SupabaseRefused)
    assert error.code == "23514"


def test_what_the_server_says_is_cleaned_and_has_no_secret() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJl"
    error = answer(400, "22P02", f"\x1b[2Jbad value {token}\x07")
    assert token not in str(error)
    assert "\x1b" not in str(error)
    assert "bad value" in str(error)


def test_a_long_complaint_is_cut() -> None:
    assert len(str(answer(400, "22P02", "x" * 10_000))) < 400


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        ("Sun, 22 Nov 2026 15:01:00 GMT", 60.0),
        ("Sun, 22 Nov 2026 14:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(
    said: str, seconds: float | None
) -> None:
    headers = {"retry-after": said, "date": "Sun, 22 Nov 2026 15:00:00 GMT"}
    assert retry_after_s(headers) == seconds
    assert retry_after_s(headers, datetime(2026, 11, 22, 15, 0, tzinfo=UTC)) == seconds


def test_how_long_to_wait_comes_with_the_error() -> None:
    error = of_rows(429, b"{}", {"retry-after": "30"})
    assert isinstance(error, SupabaseUnreachable)
    assert error.retry_after_s == 30


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("400", '"exp" claim timestamp check failed', SupabaseUnauthorized),
        ("401", "no", SupabaseUnauthorized),
        ("403", "jwt malformed", SupabaseUnauthorized),
        ("404", "Bucket not found", SupabaseRefused),
        ("413", "The object exceeded the maximum allowed size", SupabaseRefused),
        ("429", "slow down", SupabaseUnreachable),
        ("503", "away", SupabaseUnreachable),
        ("544", "database timeout", SupabaseUnreachable),
    ],
)
def test_storage_says_it_in_the_body(status: str, message: str, kind: type[SupabaseError]) -> None:
    assert type(of_storage(status, message)) is kind
