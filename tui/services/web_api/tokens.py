"""Bearer tokens of the API: how they are made, what they may do, and who they are for.

The store keeps a hash only. 256 random bits cannot be guessed, so a fast hash is enough.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

from shared.errors import InvalidInput
from shared.store.api_tokens import StoredToken
from shared.store.store import Store

PREFIX = "brt_"
"""By which a token is told from other text, and taken out of logs (`shared.redaction`)."""

_BYTES = 32
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,99}")


class TokenScope(StrEnum):
    """What a token may do."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"


async def make_token(
    store: Store, name: str, scopes: Iterable[str], user: str | None = None
) -> str:
    """A new token; the only time that anybody sees it.

    Raises:
        InvalidInput: the name, a scope or the user's id is none, or the name is taken.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"token {name!r}: a name begins with a letter or a digit, and has at most 100 letters, "
            "digits, blanks and . _ @ -"
        )
    token = PREFIX + secrets.token_urlsafe(_BYTES)
    await store.api_tokens.add(name, hash_of(token), _scopes(scopes), _user_id(user))
    return token


async def token_of(store: Store, authorization: str) -> StoredToken | None:
    """Whose token stands in an Authorization header; None where none does that holds."""
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or not _TOKEN.fullmatch(token.strip()):
        return None
    return await store.api_tokens.with_hash(hash_of(token.strip()))


def hash_of(token: str) -> str:
    """What the store keeps of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _scopes(named: Iterable[str]) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(named))
    unknown = [scope for scope in scopes if scope not in list(TokenScope)]
    if unknown or not scopes:
        told = f"{', '.join(unknown)}: there is no such scope" if unknown else "no scope"
        raise InvalidInput(f"{told}; choose of {', '.join(TokenScope)} (--scope).")
    return scopes


def _user_id(user: str | None) -> str | None:
    if user is None:
        return None
    try:
        return str(UUID(user))
    except ValueError as error:
        raise InvalidInput(
            f"--user {user!r}: is no UUID; it is the user's id in Supabase's auth.users."
        ) from error
