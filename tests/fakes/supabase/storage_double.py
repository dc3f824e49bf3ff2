"""A double of Supabase Storage's `/object/*` and `/bucket/*`, held against recorded exchanges.

Rights are not decided here: rows are asked for in PostgreSQL with the caller's role, so that the
policies of the project decide. Bytes lie in a directory. Resumable uploads arrive from the real TUS
server beside it, over `/internal/*`. If-Range is not known, as in the original.

What is not in the recorded exchanges (an absent bucket, an object that is too large, a forged
token) answers as the source of storage-api does, by reading.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from tests.fakes.supabase.postgres import Database
from tests.fakes.supabase.storage_rows import (
    Claims,
    Refusal,
    StorageRows,
    described,
    instant,
    json_of,
    not_found,
    too_large,
)

UPLOAD_TOKEN_S = 7200
LARGEST_OBJECT_BYTES = 5 * 2**30
_PIECE_BYTES = 2**18

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _Json(JSONResponse):
    media_type = "application/json; charset=utf-8"


class StorageDouble:
    """The server; `url` is set once it serves."""

    def __init__(self, database: Database, jwt_secret: str, directory: Path) -> None:
        self.url = ""
        self.directory = directory
        self._rows = StorageRows(database)
        self._secret = jwt_secret
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    def start(self) -> None:
        """Answer on 127.0.0.1, on the same port every time; returns when it does."""
        self.directory.mkdir(parents=True, exist_ok=True)
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        config = uvicorn.Config(
            self._app(), http="h11", lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="storage-double", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < deadline, "the storage double does not start"
            time.sleep(0.005)

    def stop(self) -> None:
        """Answer no longer; what is stored stays."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(timeout=10)

    def clear(self) -> None:
        """Forget the bytes of every object; the rows are the database's."""
        for path in self.directory.iterdir():
            path.unlink()

    def bytes_of(self, bucket: str, name: str) -> bytes:
        """What is stored; raises Refusal where there is no such object."""
        return self._path(self._rows.find(None, bucket, name)).read_bytes()

    def _app(self) -> Starlette:
        name = "{bucket}/{name:path}"
        routes = [
            Route("/internal/bucket/{bucket}", self._on(self._internal_bucket)),
            Route("/internal/uploaded", self._on(self._uploaded), methods=["POST"]),
            Route("/bucket", self._on(self._buckets)),
            Route("/bucket/{bucket}", self._on(self._bucket)),
            Route(f"/object/upload/sign/{name}", self._on(self._sign_upload), methods=["POST"]),
            Route(f"/object/upload/sign/{name}", self._on(self._put_signed), methods=["PUT"]),
            Route(f"/object/sign/{name}", self._on(self._sign_download), methods=["POST"]),
            Route(f"/object/sign/{name}", self._on(self._download_signed)),
            Route(f"/object/info/{name}", self._on(self._info)),
            Route("/object/list/{bucket}", self._on(self._list), methods=["POST"]),
            Route(f"/object/authenticated/{name}", self._on(self._download)),
            Route(f"/object/{name}", self._on(self._download)),
            Route(f"/object/{name}", self._on(self._upload), methods=["POST", "PUT"]),
            Route("/object/{bucket}", self._on(self._remove), methods=["DELETE"]),
            Route(f"/object/{name}", self._on(self._remove), methods=["DELETE"]),
        ]
        return Starlette(routes=[Mount("/storage/v1", routes=routes), *routes])

    def _on(self, handler: Handler) -> Handler:
        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except Refusal as refusal:
                return _refused(refusal)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                # An exception's own text must not hide that this is the double's database.
                said = f"{type(error).__name__}: {error}"
                return _refused(Refusal("500", "internal", said, "InternalError", 500))

        return answered

    # Who asks, and for what.

    def _caller(self, request: Request) -> Claims:
        authorization = request.headers.get("authorization")
        if authorization is None:
            said = "headers must have required property 'authorization'"
            raise Refusal("400", "Error", said, "InvalidRequest")
        try:
            return self._claims(authorization.removeprefix("Bearer "))
        except jwt.InvalidTokenError as error:
            raise Refusal("403", "Unauthorized", _said(error), "AccessDenied") from error

    def _claims(self, token: str) -> Claims:
        options: Any = {"verify_aud": False}
        claims: Claims = jwt.decode(token, self._secret, algorithms=["HS256"], options=options)
        return claims

    def _signed(self, request: Request) -> Claims:
        try:
            claims = self._claims(request.query_params.get("token", ""))
        except jwt.InvalidTokenError as error:
            raise Refusal("400", "InvalidJWT", _said(error), "InvalidJWT") from error
        if claims.get("url") != "/".join(_asked(request)):
            raise Refusal("400", "InvalidSignature", "Invalid signature", "InvalidSignature")
        return claims

    def _token(self, request: Request, lifetime_s: int, **claims: Any) -> str:
        now = int(time.time())
        body = {"url": "/".join(_asked(request)), "iat": now, "exp": now + lifetime_s, **claims}
        return jwt.encode(body, self._secret, algorithm="HS256")

    # Uploads.

    async def _sign_upload(self, request: Request) -> Response:
        caller, (bucket, name) = self._caller(request), _asked(request)
        upsert = request.headers.get("x-upsert") == "true"
        await asyncio.to_thread(self._rows.require_insert, caller, bucket, name, upsert=upsert)
        token = self._token(request, UPLOAD_TOKEN_S, owner=caller.get("sub"), upsert=upsert)
        url = f"/object/upload/sign/{bucket}/{name}?token={token}"
        return _Json({"url": url, "token": token})

    async def _put_signed(self, request: Request) -> Response:
        claims, (bucket, name) = self._signed(request), _asked(request)
        upsert = bool(claims.get("upsert"))
        everybody = {"role": "service_role"}
        await asyncio.to_thread(self._rows.require_insert, everybody, bucket, name, upsert=upsert)
        await self._store(request, claims.get("owner"))
        return _Json({"Key": f"{bucket}/{name}"})

    async def _upload(self, request: Request) -> Response:
        caller, (bucket, name) = self._caller(request), _asked(request)
        upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
        await asyncio.to_thread(self._rows.require_insert, caller, bucket, name, upsert=upsert)
        await self._store(request, caller.get("sub"))
        found = await asyncio.to_thread(self._rows.find, None, bucket, name)
        return _Json({"Key": f"{bucket}/{name}", "Id": str(found["id"])})

    async def _store(self, request: Request, owner: str | None) -> None:
        bucket, name = _asked(request)
        content, content_type = await _body(request)
        limit = (await asyncio.to_thread(self._rows.bucket, None, bucket))["file_size_limit"]
        if len(content) > (limit or LARGEST_OBJECT_BYTES):
            raise too_large()
        version = str(uuid.uuid4())
        path = self.directory / version
        await asyncio.to_thread(path.write_bytes, content)
        await asyncio.to_thread(self._record, bucket, name, version, owner, content_type, None)

    async def _uploaded(self, request: Request) -> Response:
        """The TUS server has all bytes of an object."""
        said = await request.json()
        path, version = Path(said["path"]), said["version"]
        if not (self.directory / version).exists():  # or it was told before, and died
            await asyncio.to_thread(os.link, path, self.directory / version)
        metadata = json.loads(said["metadata"]) if said.get("metadata") else None
        await asyncio.to_thread(
            self._record,
            said["bucket"],
            said["object"],
            version,
            said.get("owner"),
            said.get("contentType") or "application/octet-stream",
            metadata,
        )
        return _Json({})

    def _record(
        self,
        bucket: str,
        name: str,
        version: str,
        owner: str | None,
        content_type: str,
        user_metadata: dict[str, Any] | None,
    ) -> None:
        path = self.directory / version
        with path.open("rb") as file:
            etag = f'"{hashlib.file_digest(file, "md5").hexdigest()}"'
        size = path.stat().st_size
        metadata = {"eTag": etag, "size": size, "mimetype": content_type}
        metadata |= {"cacheControl": "no-cache", "contentLength": size, "httpStatusCode": 200}
        metadata["lastModified"] = instant(datetime.now(UTC))
        row = {"bucket_id": bucket, "name": name, "owner": owner, "version": version}
        self._rows.put({**row, "metadata": metadata, "user_metadata": user_metadata})

    async def _internal_bucket(self, request: Request) -> Response:
        try:
            row = await asyncio.to_thread(self._rows.bucket, None, request.path_params["bucket"])
        except Refusal:
            return _Json({}, 404)
        return _Json({"file_size_limit": row["file_size_limit"]})

    # Buckets, lists, downloads.

    async def _buckets(self, request: Request) -> Response:
        rows = await asyncio.to_thread(self._rows.buckets, self._caller(request))
        return _Json([_bucket(row) for row in rows])

    async def _bucket(self, request: Request) -> Response:
        asked = request.path_params["bucket"]
        row = await asyncio.to_thread(self._rows.bucket, self._caller(request), asked)
        return _Json(_bucket(row))

    async def _info(self, request: Request) -> Response:
        row = await asyncio.to_thread(self._rows.find, self._caller(request), *_asked(request))
        metadata = json_of(row["metadata"])
        said = {"id": str(row["id"]), "name": row["name"], "version": row["version"]}
        said |= {"bucket_id": row["bucket_id"], "size": metadata["size"]}
        said |= {"content_type": metadata["mimetype"], "cache_control": metadata["cacheControl"]}
        said |= {"etag": metadata["eTag"], "metadata": json_of(row["user_metadata"])}
        said |= {"last_modified": instant(row["updated_at"])}
        said |= {"created_at": instant(row["created_at"])}
        headers = {"etag": metadata["eTag"], "cache-control": metadata["cacheControl"]}
        return _Json(said, headers=headers)

    async def _list(self, request: Request) -> Response:
        asked = await request.json()
        bucket, prefix = request.path_params["bucket"], asked.get("prefix", "")
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        rows = await asyncio.to_thread(self._rows.below, self._caller(request), bucket, folder)
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            first, _, rest = row["name"].removeprefix(folder).partition("/")
            found.setdefault(first, _listed_folder(first) if rest else _listed(first, row))
        start = asked.get("offset", 0)
        return _Json(list(found.values())[start : start + asked.get("limit", 100)])

    async def _remove(self, request: Request) -> Response:
        caller, bucket = self._caller(request), request.path_params["bucket"]
        one = request.path_params.get("name")
        names = [one] if one else (await request.json())["prefixes"]
        rows = await asyncio.to_thread(self._rows.delete, caller, bucket, names)
        for row in rows:
            self._path(row).unlink(missing_ok=True)
        if one and not rows:
            raise not_found()
        if one:
            return _Json({"message": "Successfully deleted"})
        return _Json([described(row) for row in rows])

    async def _sign_download(self, request: Request) -> Response:
        caller, (bucket, name) = self._caller(request), _asked(request)
        lifetime_s = int((await request.json())["expiresIn"])
        await asyncio.to_thread(self._rows.find, caller, bucket, name)
        url = f"/object/sign/{bucket}/{name}?token={self._token(request, lifetime_s)}"
        return _Json({"signedURL": url})

    async def _download_signed(self, request: Request) -> Response:
        self._signed(request)
        return self._sent(request, await asyncio.to_thread(self._rows.find, None, *_asked(request)))

    async def _download(self, request: Request) -> Response:
        caller = self._caller(request)
        return self._sent(
            request, await asyncio.to_thread(self._rows.find, caller, *_asked(request))
        )

    def _sent(self, request: Request, row: dict[str, Any]) -> Response:
        metadata = json_of(row["metadata"])
        size = metadata["size"]
        start, end, status = 0, size - 1, 200
        headers = {"accept-ranges": "bytes", "etag": metadata["eTag"]}
        if asked := request.headers.get("range"):
            start, end = _range(asked, size)
            status = 206
            headers["content-range"] = f"bytes {start}-{end}/{size}"
        headers["content-length"] = str(end - start + 1)
        if "download" in request.query_params:
            named = request.query_params["download"] or row["name"].rpartition("/")[2]
            headers["content-disposition"] = f'attachment; filename="{named}"'
        pieces = [] if request.method == "HEAD" else _pieces(self._path(row), start, end)
        return StreamingResponse(
            iter(pieces), status, headers=headers, media_type=metadata["mimetype"]
        )

    def _path(self, row: dict[str, Any]) -> Path:
        return self.directory / str(row["version"])


def _refused(refusal: Refusal) -> _Json:
    body = {"statusCode": refusal.status_code, "error": refusal.error}
    body |= {"message": refusal.message, "code": refusal.code}
    return _Json(body, refusal.http_status)


def _said(error: jwt.InvalidTokenError) -> str:
    """As the library there puts it."""
    if isinstance(error, jwt.ExpiredSignatureError):
        return '"exp" claim timestamp check failed'
    if isinstance(error, jwt.InvalidSignatureError):
        return "signature verification failed"
    return "Invalid Compact JWS"


def _asked(request: Request) -> tuple[str, str]:
    return request.path_params["bucket"], request.path_params["name"]


async def _body(request: Request) -> tuple[bytes, str]:
    content_type = request.headers.get("content-type", "application/octet-stream")
    if not content_type.startswith("multipart/form-data"):
        return await request.body(), content_type
    async with request.form() as form:
        for part in form.values():
            if not isinstance(part, str):
                return await part.read(), part.content_type or "application/octet-stream"
    raise Refusal("400", "Error", "no file in the form", "InvalidRequest")


def _range(asked: str, size: int) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    start = int(match[1]) if match else size
    if match is None or start >= size:
        said = "invalid range provided"
        raise Refusal("416", "invalid_range", said, "InvalidRange", 416)
    return start, min(int(match[2]), size - 1) if match[2] else size - 1


def _pieces(path: Path, start: int, end: int) -> Any:
    with path.open("rb") as file:
        file.seek(start, os.SEEK_SET)
        left = end - start + 1
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece


def _listed(name: str, row: dict[str, Any]) -> dict[str, Any]:
    said = described(row)
    kept = ("id", "updated_at", "created_at", "last_accessed_at", "metadata")
    return {"name": name, **{key: said[key] for key in kept}}


def _listed_folder(name: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("id", "updated_at", "created_at", "last_accessed_at", "metadata"))
    return {"name": name, **nothing}


def _bucket(row: dict[str, Any]) -> dict[str, Any]:
    said = {"id": row["id"], "name": row["name"], "owner": row["owner_id"] or ""}
    said |= {"public": row["public"], "file_size_limit": row["file_size_limit"]}
    said |= {"allowed_mime_types": row["allowed_mime_types"]}
    said |= {"created_at": instant(row["created_at"]), "updated_at": instant(row["updated_at"])}
    return said
