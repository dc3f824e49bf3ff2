from __future__ import annotations

import pytest

from shared.errors import SupabaseRefused, SupabaseUnauthorized
from shared.upload.answers import Verdict, judge, refusal

EXPIRED = '"exp" claim timestamp check failed'


@pytest.mark.parametrize(
    ("method", "status", "text", "verdict"),
    [
        ("POST", 201, "", Verdict.GO_ON),
        ("PATCH", 204, "", Verdict.GO_ON),
        ("PATCH", 409, "Upload-Offset conflict\n", Verdict.LOOK_AGAIN),
        ("HEAD", 404, "", Verdict.BEGIN_AGAIN),
        ("HEAD", 410, "", Verdict.BEGIN_AGAIN),
        ("PATCH", 404, "", Verdict.BEGIN_AGAIN),
        ("POST", 404, "Bucket not found", Verdict.REFUSED),
        ("PATCH", 400, EXPIRED, Verdict.NEW_TOKEN),
        ("POST", 400, EXPIRED, Verdict.NEW_TOKEN),
        ("PATCH", 401, '{"message":"jwt expired"}', Verdict.NEW_TOKEN),
        ("HEAD", 400, "", Verdict.NEW_TOKEN),
        ("PATCH", 400, "Invalid signature", Verdict.REFUSED),
        ("POST", 400, "unexpected metadata", Verdict.REFUSED),
        ("POST", 413, "Maximum size exceeded\n", Verdict.REFUSED),
        ("PATCH", 423, "", Verdict.ASK_AGAIN),
        ("PATCH", 429, "", Verdict.ASK_AGAIN),
        ("POST", 503, EXPIRED, Verdict.ASK_AGAIN),
        ("PATCH", 302, "", Verdict.REFUSED),
    ],
)
def test_every_answer_has_its_verdict(
    method: str, status: int, text: str, verdict: Verdict
) -> None:
    assert judge(method, status, text) is verdict


@pytest.mark.parametrize(
    ("status", "text", "kind", "says"),
    [
        (413, "Maximum size exceeded\n", SupabaseRefused, "414 MB"),
        (404, "Bucket not found", SupabaseRefused, "supabase migrate"),
        (403, "new row violates row-level security policy", SupabaseRefused, "belong to whoever"),
        (400, "Invalid signature", SupabaseUnauthorized, "Ask for the upload again"),
        (400, "\x1b]52;c;boo\x07what", SupabaseRefused, "what"),
    ],
)
def test_a_refusal_says_what_to_do(
    status: int, text: str, kind: type[Exception], says: str
) -> None:
    names = {"bucket": "model-artifacts", "object_name": "jobs/x/a.bin"}
    error = refusal(status, text, size_bytes=414_000_000, **names)
    assert type(error) is kind
    assert says in str(error) and "\x1b" not in str(error)
