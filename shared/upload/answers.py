"""What an answer of a resumable upload means: go on, look again, begin again, or give up. Pure.

The statuses are those of Supabase Storage, recorded in 2026-11 (storage-api 1.11.2): a token that
has expired is a 400 whose text names `exp`, and a HEAD's 400 has no text at all.
"""

from __future__ import annotations

import re
from enum import StrEnum

from shared.clean_text import clean_line
from shared.errors import SupabaseError, SupabaseRefused, SupabaseUnauthorized

_EXPIRED = re.compile(r"\bexp(ired)?\b", re.IGNORECASE)
_LATER = frozenset({408, 423, 425, 429})
_LONGEST_REASON = 200


class Verdict(StrEnum):
    """What to do after an answer."""

    GO_ON = "go on"
    ASK_AGAIN = "ask again"
    """Later: the server is busy, locked or away."""
    LOOK_AGAIN = "look again"
    """The server has other bytes than we thought."""
    BEGIN_AGAIN = "begin again"
    """The upload is gone; the bytes have to be sent once more."""
    NEW_TOKEN = "new token"
    REFUSED = "refused"


def judge(method: str, status: int, text: str) -> Verdict:
    """`text` is the answer's body, "" for a HEAD."""
    if status in (200, 201, 204):
        return Verdict.GO_ON
    if status in _LATER or status >= 500:
        return Verdict.ASK_AGAIN
    if status == 409 and method != "POST":
        return Verdict.LOOK_AGAIN
    if status in (404, 410) and method != "POST":
        return Verdict.BEGIN_AGAIN
    if status in (400, 401, 403) and (method == "HEAD" or _EXPIRED.search(text)):
        return Verdict.NEW_TOKEN
    return Verdict.REFUSED


def refusal(
    status: int, text: str, *, bucket: str, object_name: str, size_bytes: int
) -> SupabaseError:
    """Why the server will never take it, and what to do."""
    said = clean_line(text)[:_LONGEST_REASON]
    if status == 413 or "exceeded" in said.lower():
        return SupabaseRefused(
            f"Supabase Storage refuses {object_name}: it has {size_bytes / 1e6:,.0f} MB, above the "
            f"size limit of the bucket {bucket!r} or of the project. The free plan takes 50 MB: "
            "raise the limit in the project's storage settings, then upload again."
        )
    if status == 404 or "bucket" in said.lower():
        return SupabaseRefused(
            f"Supabase Storage has no bucket {bucket!r}: `brightrun supabase migrate` makes it."
        )
    if "row-level security" in said.lower():
        return SupabaseRefused(
            f"Supabase Storage's rules refuse {object_name}: {said}. Its job must be there and "
            "belong to whoever uploads."
        )
    if status in (401, 403) or "signature" in said.lower():
        return SupabaseUnauthorized(
            f"Supabase Storage does not accept the upload token for {object_name}: "
            f"{said or status}. Ask for the upload again."
        )
    return SupabaseRefused(f"Supabase Storage refuses {object_name}: {said or status} ({status}).")
