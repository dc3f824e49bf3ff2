"""Who may use the web application's API: names, rights and the hashes of tokens.

A token itself is never here, so nobody who reads the database can use the API with what they find.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.store.database import Database
from shared.store.schema import api_tokens
from shared.store.uninterrupted import uninterrupted

_USE_IS_NEW_AFTER = timedelta(minutes=1)
"""Reads stay reads: that a token was used is written down once a minute at most."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What a token may do; not the token."""

    name: str
    scopes: tuple[str, ...]
    user_id: str | None
    """UUID of the user of the web application whose jobs it is for; None for all jobs."""
    created_at: datetime
    last_used_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        used = self.last_used_at
        return {
            "name": self.name,
            "scopes": list(self.scopes),
            "user_id": self.user_id,
            "created_at": self.created_at.isoformat(),
            "last_used_at": None if used is None else used.isoformat(),
        }


class ApiTokens:
    """Reads and writes of tokens' hashes; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = database.transactions

    @uninterrupted
    async def add(
        self, name: str, token_sha256: str, scopes: Iterable[str], user_id: str | None = None
    ) -> StoredToken:
        """Let whoever has the token with this hash in.

        Raises:
            InvalidInput: the name is taken.
        """
        token = StoredToken(name, tuple(scopes), user_id, utc_now())
        row = {
            "name": name,
            "token_sha256": token_sha256,
            "scopes": list(token.scopes),
            "user_id": user_id,
            "created_at": token.created_at,
        }
        async with self._database.writing() as connection:
            query = select(api_tokens.c.name).where(api_tokens.c.name == name)
            if await connection.scalar(query) is not None:
                raise InvalidInput(
                    f"token {name!r}: there is one of that name. Choose another name, or end it "
                    f"with `brightrun serve token revoke {name}`."
                )
            await connection.execute(insert(api_tokens), row)
        return token

    @uninterrupted
    async def with_hash(self, token_sha256: str) -> StoredToken | None:
        """The token with this hash; None if there is none, or none any more."""
        query = select(api_tokens).where(api_tokens.c.token_sha256 == token_sha256)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None or not hmac.compare_digest(row["token_sha256"], token_sha256):
            return None
        return _token_of(row)

    @uninterrupted
    async def all(self) -> list[StoredToken]:
        """By name."""
        query = select(api_tokens).order_by(api_tokens.c.name)
        async with self._database.reading() as connection:
            return [_token_of(row) for row in (await connection.execute(query)).mappings()]

    @uninterrupted
    async def note_use(self, token: StoredToken, now: datetime) -> None:
        """Remember that it was used, unless that is known of this minute."""
        if token.last_used_at is not None and now - token.last_used_at < _USE_IS_NEW_AFTER:
            return
        statement = update(api_tokens).where(api_tokens.c.name == token.name)
        async with self._database.writing() as connection:
            await connection.execute(statement.values(last_used_at=now))

    @uninterrupted
    async def revoke(self, name: str) -> None:
        """Let nobody in with it any more, from the next request on.

        Raises:
            InvalidInput: there is none of that name.
        """
        statement = delete(api_tokens).where(api_tokens.c.name == name)
        async with self._database.writing() as connection:
            if (await connection.execute(statement)).rowcount != 1:
                raise InvalidInput(
                    f"token {name!r}: there is none. `brightrun serve token list` shows all."
                )


def _token_of(row: RowMapping) -> StoredToken:
    return StoredToken(
        row["name"],
        tuple(row["scopes"]),
        row["user_id"],
        row["created_at"],
        row["last_used_at"],
    )
