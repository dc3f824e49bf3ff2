"""What the storage double knows of buckets and objects: rows in PostgreSQL, asked as the caller.

Policies decide, not this module: every question is put with the caller's role and claims. Knows
nothing of HTTP; a refusal carries what Supabase Storage would answer. Calls block.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from tests.fakes.supabase.postgres import Database

Claims = dict[str, Any]
Row = dict[str, Any]

_MAY_INSERT = """
create or replace function storage.brightrun_may_insert(bucket text, object text, owner_name text)
returns boolean language plpgsql as $$
begin
    insert into storage.objects (bucket_id, name, owner, owner_id)
    values (bucket, object, nullif(owner_name, '')::uuid, nullif(owner_name, ''));
    -- The block's own handler undoes the insert: the caller may, and nothing is there yet.
    raise exception using errcode = 'BR001';
exception when sqlstate 'BR001' then
    return true;
end $$
"""


@dataclass(frozen=True)
class Refusal(Exception):
    """An error's body; the HTTP status is mostly 400, whatever the body says."""

    status_code: str
    error: str
    message: str
    code: str
    http_status: int = 400


def not_found() -> Refusal:
    return Refusal("404", "not_found", "Object not found", "NoSuchKey")


def no_bucket() -> Refusal:
    return Refusal("404", "Bucket not found", "Bucket not found", "NoSuchBucket")


def too_large() -> Refusal:
    said = "The object exceeded the maximum allowed size"
    return Refusal("413", "Payload too large", said, "EntityTooLarge")


class StorageRows:
    """Buckets and objects of one project."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_ready = False

    def require_insert(self, claims: Claims, bucket: str, name: str, *, upsert: bool) -> None:
        """Raises Refusal unless the caller may make this object."""
        if not self._is_ready:
            self._database.execute(_MAY_INSERT)
            self._is_ready = True
        arguments = (bucket, name, claims.get("sub") or "")
        question = "select storage.brightrun_may_insert($1, $2, $3)"
        try:
            self._database.execute_as(claims, question, *arguments)
        except asyncpg.UniqueViolationError as error:
            if not upsert:
                said = "The resource already exists"
                raise Refusal("409", "Duplicate", said, "KeyAlreadyExists") from error
        except asyncpg.InsufficientPrivilegeError as error:
            said = "new row violates row-level security policy"
            raise Refusal("403", "Unauthorized", said, "AccessDenied") from error
        except asyncpg.ForeignKeyViolationError as error:
            said = "The related resource does not exist"
            raise Refusal("404", "Not found", said, "NoSuchKey") from error

    def put(self, row: Row) -> None:
        """Make or replace an object, with everybody's rights: they were checked before."""
        self._database.execute(
            "insert into storage.objects"
            " (id, bucket_id, name, owner, owner_id, version, metadata, user_metadata)"
            " values ($1::uuid, $2, $3, nullif($4, '')::uuid, nullif($4, ''), $5, $6, $7)"
            " on conflict (bucket_id, name) do update set version = excluded.version,"
            " metadata = excluded.metadata, user_metadata = excluded.user_metadata,"
            " updated_at = now()",
            str(uuid.uuid4()),
            row["bucket_id"],
            row["name"],
            row["owner"] or "",
            row["version"],
            json.dumps(row["metadata"]),
            json.dumps(row["user_metadata"]) if row["user_metadata"] is not None else None,
        )

    def find(self, claims: Claims | None, bucket: str, name: str) -> Row:
        """One object as the caller sees it; None asks with everybody's rights. Raises Refusal."""
        question = "select * from storage.objects where bucket_id = $1 and name = $2"
        rows = self._ask(claims, question, bucket, name)
        if not rows:
            raise not_found()
        return rows[0]

    def below(self, claims: Claims, bucket: str, prefix: str) -> list[Row]:
        """Every visible object whose name begins so, by name."""
        question = (
            "select * from storage.objects where bucket_id = $1 and starts_with(name, $2)"
            " order by name"
        )
        return self._ask(claims, question, bucket, prefix)

    def delete(self, claims: Claims, bucket: str, names: list[str]) -> list[Row]:
        """The rows that the caller was allowed to delete."""
        question = "delete from storage.objects where bucket_id = $1 and name = any($2) returning *"
        return self._ask(claims, question, bucket, names)

    def bucket(self, claims: Claims | None, bucket: str) -> Row:
        """One bucket as the caller sees it. Raises Refusal."""
        rows = self._ask(claims, "select * from storage.buckets where id = $1", bucket)
        if not rows:
            raise no_bucket()
        return rows[0]

    def buckets(self, claims: Claims) -> list[Row]:
        """Those that the caller sees."""
        return self._ask(claims, "select * from storage.buckets order by name")

    def _ask(self, claims: Claims | None, question: str, *arguments: Any) -> list[Row]:
        if claims is None:
            return self._database.execute(question, *arguments)
        return self._database.execute_as(claims, question, *arguments)


def described(row: Row) -> dict[str, Any]:
    """An object's row as `list` and `remove` answer it."""
    said = {"name": row["name"], "bucket_id": row["bucket_id"], "id": str(row["id"])}
    said |= {"owner": str(row["owner"] or ""), "owner_id": row["owner_id"] or ""}
    said |= {"version": row["version"], "metadata": json_of(row["metadata"])}
    said |= {"user_metadata": json_of(row["user_metadata"])}
    for name in ("updated_at", "created_at", "last_accessed_at"):
        said[name] = instant(row[name])
    return said


def json_of(value: Any) -> Any:
    """A jsonb column arrives as text."""
    return json.loads(value) if isinstance(value, str) else value


def instant(moment: datetime) -> str:
    """2026-11-22T13:45:01.756Z."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"
