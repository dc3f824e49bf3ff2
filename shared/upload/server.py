"""The four requests of a resumable upload (TUS 1.0), as Supabase Storage answers them.

Each either succeeds, raises a `Retry` of some kind, or ends the upload with an error of ours. When
and how often to ask again is not decided here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from shared.upload.answers import Verdict, judge, refusal
from shared.upload.file import MeasuredFile, UploadSource

_PROTOCOL = {"Tus-Resumable": "1.0.0"}
_CONNECT_TIMEOUT_S = 10.0


class Retry(Exception):
    """The server has to be asked again; `after_s` as it wishes, None where it does not say."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class BeginAgain(Retry):
    """The server knows nothing of the upload any more."""


class NeedsToken(Retry):
    """The token has expired."""


class ResumableServer:
    """Where one file goes; `token` is set before the first request, and when a newer one is had."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        endpoint: str,
        file: UploadSource,
        measured: MeasuredFile,
        timeout_s: float,
    ) -> None:
        self.token = ""
        self._http = http
        self._endpoint = httpx.URL(endpoint)
        self._file = file
        self._measured = measured
        self._timeout_s = timeout_s

    async def create(self) -> tuple[httpx.URL, bool]:
        """Where a new upload goes on, and whether the object is there already."""
        headers = {
            "Upload-Length": str(self._measured.size_bytes),
            "Upload-Metadata": _metadata(self._file, self._measured.sha256),
        }
        answer = await self._ask("POST", self._endpoint, headers)
        location = answer.headers.get("Location", "")
        if not location:
            raise Retry("the server names no place for the upload")
        return self.own_url(location), _says_complete(answer)

    async def offset(self, url: httpx.URL) -> int:
        """How many bytes the server has."""
        answer = await self._ask("HEAD", url, {})
        offset = _number(answer, "Upload-Offset")
        if _number(answer, "Upload-Length") != self._measured.size_bytes:
            raise BeginAgain("the server has another file there")
        if offset > self._measured.size_bytes:
            raise Retry("the server names an offset that cannot be")
        return offset

    async def patch(
        self,
        url: httpx.URL,
        offset: int,
        length: int,
        content: AsyncIterator[bytes],
        timeout_s: float,
    ) -> tuple[int, bool]:
        """Send bytes; how many the server has then, and whether the object is there."""
        headers = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
        }
        answer = await self._ask("PATCH", url, headers, timeout_s, content=content)
        return _number(answer, "Upload-Offset"), _says_complete(answer)

    def own_url(self, location: str) -> httpx.URL:
        """The place on the endpoint's own host, whatever a proxy has made of it: our token goes
        nowhere else."""
        return self._endpoint.copy_with(raw_path=self._endpoint.join(location).raw_path)

    async def _ask(
        self,
        method: str,
        url: httpx.URL,
        headers: dict[str, str],
        timeout_s: float | None = None,
        **values: Any,
    ) -> httpx.Response:
        headers = {**_PROTOCOL, "x-signature": self.token, **headers}
        timeout = httpx.Timeout(timeout_s or self._timeout_s, connect=_CONNECT_TIMEOUT_S)
        try:
            answer = await self._http.request(
                method, url, headers=headers, timeout=timeout, follow_redirects=False, **values
            )
        except httpx.HTTPError as error:
            raise Retry(f"{method}: {error or type(error).__name__}") from error
        text = answer.text
        said = f"{method} was answered {answer.status_code} {text[:100]}".strip()
        match judge(method, answer.status_code, text):
            case Verdict.GO_ON:
                return answer
            case Verdict.NEW_TOKEN:
                raise NeedsToken(said)
            case Verdict.BEGIN_AGAIN:
                raise BeginAgain(said)
            case Verdict.LOOK_AGAIN:
                raise Retry(said)
            case Verdict.ASK_AGAIN:
                raise Retry(said, _retry_after_s(answer))
        raise refusal(
            answer.status_code,
            text,
            bucket=self._file.bucket,
            object_name=self._file.object_name,
            size_bytes=self._measured.size_bytes,
        )


def _metadata(file: UploadSource, sha256: str) -> str:
    values = {
        "bucketName": file.bucket,
        "objectName": file.object_name,
        "contentType": file.content_type,
        "metadata": json.dumps({"sha256": sha256}),
    }
    return ",".join(
        f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items()
    )


def _says_complete(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("Tus-Complete") == "1")


def _number(answer: httpx.Response, header: str) -> int:
    said = str(answer.headers.get(header, ""))
    if not said.isdecimal():
        raise Retry(f"the server's {header} is {said[:20]!r}")
    return int(said)


def _retry_after_s(answer: httpx.Response) -> float | None:
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else None
