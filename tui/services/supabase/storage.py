"""Objects in Supabase Storage: rights to upload and to read, what is there, its bytes.

On plain HTTP, since the official client holds a whole download in memory and names neither sizes
nor limits. Uploading itself is in `shared.upload`. An answer's HTTP status is mostly 400; what
happened stands in its body.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from shared.clean_text import clean_line
from shared.errors import SupabaseError, SupabaseRefused, SupabaseUnauthorized, SupabaseUnreachable
from tui.services.supabase.answers import of_storage
from tui.services.supabase.connection import Supabase, supabase_errors
from tui.services.supabase.settings import BUCKET

_READ_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_PAGE = 100


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """An object as the server lists it."""

    name: str
    """Within its bucket."""
    size_bytes: int


class ObjectExists(SupabaseRefused):
    """There is an object of that name, which is not to be overwritten."""


class Storage:
    """One bucket, by the right of one connection."""

    def __init__(self, supabase: Supabase, bucket: str = BUCKET) -> None:
        self._supabase = supabase
        self._bucket = bucket
        self._base = f"{supabase.settings.url}/storage/v1"

    @property
    def upload_endpoint(self) -> str:
        """Where resumable uploads with a signed token begin."""
        return f"{self._base}/upload/resumable/sign"

    async def sign_upload(self, name: str) -> str:
        """A token that lets one object be uploaded, for two hours; to be kept in memory only.

        Raises:
            ObjectExists: it is there already.
            SupabaseRefused: no such bucket, or row level security says no.
        """
        try:
            answer = await self._ask("POST", f"/object/upload/sign/{self._path(name)}")
        except _NotFound as error:  # Of what is not there yet, only the bucket can be missing.
            raise _no_bucket(self._bucket) from error
        return str(answer["token"])

    async def signed_url(self, name: str, lifetime_s: int, save_as: str | None = None) -> str:
        """A URL with which anybody reads the object for so long.

        Raises:
            SupabaseRefused: no such object, or not one of ours.
        """
        answer = await self._ask(
            "POST", f"/object/sign/{self._path(name)}", json={"expiresIn": lifetime_s}
        )
        url = f"{self._base}{answer['signedURL']}"
        return url if save_as is None else f"{url}&download={quote(save_as, safe='')}"

    async def facts(self, name: str) -> ObjectFacts | None:
        """None where there is no such object, or none that may be seen."""
        try:
            answer = await self._ask("GET", f"/object/info/{self._path(name)}")
        except _NotFound:
            return None
        return ObjectFacts(name, int(answer["size"]))

    async def objects(self, folder: str) -> list[ObjectFacts]:
        """All objects right in a folder; folders in it have no size, and are left out."""
        return [
            ObjectFacts(f"{folder}/{row['name']}", _size(row))
            for row in await self._rows(folder)
            if row.get("id") is not None
        ]

    async def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""
        rows = await self._rows(folder)
        return [f"{folder}/{row['name']}" for row in rows if row.get("id") is None]

    async def remove(self, names: Sequence[str]) -> int:
        """Remove objects; returns how many there were."""
        answer = await self._ask("DELETE", f"/object/{self._bucket}", json={"prefixes": [*names]})
        return len(answer)

    @asynccontextmanager
    async def download(
        self, name: str, offset: int = 0
    ) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """The object's bytes from `offset`: where they really begin, and the chunks.

        Raises:
            SupabaseRefused: no such object.
            SupabaseUnreachable: no answer, or the bytes stop coming.
        """
        url = await self.signed_url(name, 3600)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        http = self._supabase.http
        with supabase_errors():
            request = http.build_request("GET", url, headers=headers, timeout=_READ_TIMEOUT)
            response = await http.send(request, stream=True)
        try:
            if response.is_error:
                with supabase_errors():
                    raise _refusal(response.status_code, await response.aread())
            yield offset if response.status_code == 206 else 0, _chunks(response)
        finally:
            await response.aclose()

    async def most_bytes(self) -> int | None:
        """The largest file that project and bucket take; None where they do not say.

        Not everybody may read a bucket's settings; what the server says of itself counts then.
        """
        limits = [await self._bucket_limit(), await self._server_limit()]
        return min((limit for limit in limits if limit), default=None)

    async def _bucket_limit(self) -> int | None:
        try:
            answer = await self._ask("GET", f"/bucket/{self._bucket}")
        except SupabaseRefused:
            return None
        limit = answer.get("file_size_limit")
        return int(limit) if limit else None

    async def _server_limit(self) -> int | None:
        with supabase_errors():
            answer = await self._supabase.http.request(
                "OPTIONS", self.upload_endpoint, headers={"Tus-Resumable": "1.0.0"}
            )
        said = answer.headers.get("Tus-Max-Size", "")
        return int(said) if said.isdecimal() else None

    async def _rows(self, folder: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            body = {"prefix": folder, "limit": _PAGE, "offset": len(rows)}
            page = await self._ask("POST", f"/object/list/{self._bucket}", json=body)
            rows += page
            if len(page) < _PAGE:
                return rows

    async def _ask(self, method: str, path: str, **values: Any) -> Any:
        with supabase_errors():
            answer = await self._supabase.http.request(
                method, f"{self._base}{path}", headers=self._supabase.headers, **values
            )
            if answer.is_error:
                raise _refusal(answer.status_code, answer.content)
            try:
                return answer.json()
            except ValueError as error:
                raise SupabaseUnreachable(
                    f"Supabase Storage's answer makes no sense: {error}."
                ) from error

    def _path(self, name: str) -> str:
        return f"{self._bucket}/{quote(name, safe='/')}"


class _NotFound(SupabaseRefused):
    """No such object; a missing bucket is said otherwise."""


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    with supabase_errors():
        async for chunk in response.aiter_raw():
            yield chunk


def _size(row: dict[str, Any]) -> int:
    metadata = row.get("metadata") or {}
    return int(metadata.get("size") or metadata.get("contentLength") or 0)


def _refusal(http_status: int, content: bytes) -> SupabaseError:
    """By the body, which gives a status of its own; by the HTTP status where it is none of ours."""
    status, message, code = _said(content)
    if http_status == 429 or http_status >= 500 or not status:
        return of_storage(str(http_status), message or "no reason given")
    if status == "409":
        return ObjectExists(f"Supabase Storage: {message}.")
    if status == "404" and "bucket" not in f"{message}{code}".lower():
        return _NotFound("Supabase Storage has no such object, or none that you may see.")
    if status == "404":
        return _no_bucket(BUCKET)
    if status == "403" and "row-level security" not in message:
        return SupabaseUnauthorized(
            f"Supabase Storage does not accept the key or login: {message}. Log in with "
            "`brightrun supabase login`, or mend the key."
        )
    return of_storage(status, message)


def _no_bucket(bucket: str) -> SupabaseRefused:
    return SupabaseRefused(
        f"Supabase Storage has no bucket {bucket!r}: `brightrun supabase migrate` makes it."
    )


def _said(content: bytes) -> tuple[str, str, str]:
    """(status, message, code) of an answer's body; empty where it has none."""
    try:
        body = json.loads(content)
        status = str(body.get("statusCode", ""))
        return status, clean_line(str(body.get("message", ""))), str(body.get("code", ""))
    except (ValueError, AttributeError):
        return "", "", ""
