"""Requests to RunPod's REST v2 through httpx, and what their failures mean.

For what the official package cannot say. A question is repeated a little; a request that changes
something only after a 429, which says for certain that nothing was done. Knows no pod.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from shared.errors import ProviderError, ProviderUnreachable
from tui.services.providers.runpod.answers import Refusal, Request, error_of, never_sent, unsure

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
"""A pod that is asked for may take long to be answered."""
TRIES = 3
LONGEST_OBEYED_WAIT_S = 15.0
"""Of a Retry-After: with a longer one the caller waits, since it has other things to do."""
QUIET_STREAM_S = 60.0
"""A stream of events that says nothing for so long is opened anew: it may be half open."""

Answer = TypeVar("Answer", bound=BaseModel)
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


class Transport:
    """One account's connection to the API."""

    def __init__(
        self, api_key: str, base_url: str, *, answer_timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}", "Accept": "application/json"},
            timeout=httpx.Timeout(answer_timeout_s, connect=CONNECT_TIMEOUT_S),
        )

    async def get(
        self,
        request: Request,
        kind: type[Answer],
        params: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """The answer to a question, asked up to three times.

        Raises:
            ProviderError: see `answers.error_of`.
        """
        for tries_left in reversed(range(TRIES)):
            try:
                return _decoded(request, await self._sent(request, params=params), kind)
            except ProviderUnreachable as error:
                wait_s = _pause_before_retry(error)
                if tries_left == 0 or wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    async def change(self, request: Request, body: Mapping[str, Any] | None = None) -> bytes:
        """The answer's body; sent again only after a 429.

        Raises:
            ProviderError: see `answers.error_of`.
        """
        for tries_left in reversed(range(TRIES)):
            try:
                return await self._sent(request, body=body)
            except ProviderUnreachable as error:
                wait_s = error.retry_after_s
                if tries_left == 0 or wait_s is None or wait_s > LONGEST_OBEYED_WAIT_S:
                    raise
                await asyncio.sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    async def create(self, request: Request, body: Mapping[str, Any], kind: type[Answer]) -> Answer:
        """What was made.

        Raises:
            ProviderError: see `answers.error_of`.
        """
        return _decoded(request, await self.change(request, body), kind)

    @asynccontextmanager
    async def events(
        self, request: Request, params: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> AsyncGenerator[httpx.Response]:
        """An open stream of server-sent events; one that breaks later just ends.

        Raises:
            ProviderError: it cannot be opened.
        """
        timeout = httpx.Timeout(QUIET_STREAM_S, connect=CONNECT_TIMEOUT_S)
        is_open = False
        try:
            async with self._client.stream(
                request.method,
                request.path,
                params=params,
                headers={"Accept": "text/event-stream", **headers},
                timeout=timeout,
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise error_of(request, _refusal(response))
                is_open = True
                yield response
        except httpx.HTTPError as error:
            if not is_open:
                raise _translated(request, error) from error

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def _sent(
        self,
        request: Request,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> bytes:
        try:
            response = await self._client.request(
                request.method, request.path, params=params, json=body
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _translated(request, error) from error
        if not response.is_success:
            raise error_of(request, _refusal(response))
        return response.content


def _decoded(request: Request, content: bytes, kind: type[Answer]) -> Answer:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        said = f"{request}: an answer that cannot be read ({where or 'no JSON'})."
        raise unsure(request, said) from error


def _translated(request: Request, error: Exception) -> ProviderError:
    if isinstance(error, _NEVER_SENT):
        return never_sent(request, str(error) or type(error).__name__)
    return unsure(request, f"{request}: no answer ({type(error).__name__}).")


def _refusal(response: httpx.Response) -> Refusal:
    """An error's status and words; RFC 9457 where it is that."""
    try:
        body = response.json()
    except ValueError:
        body = None
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    errors = fields.get("errors")
    return Refusal(
        response.status_code,
        str(fields.get("detail") or fields.get("title") or response.reason_phrase),
        tuple(str(each) for each in errors) if isinstance(errors, list) else (),
        _retry_after_s(response.headers.get("Retry-After")),
    )


def _retry_after_s(header: str | None) -> float | None:
    """Seconds, as the API's description has it; a date is not obeyed but counts as unsaid."""
    if header is None or not header.strip().isdecimal():
        return None
    return float(header)


def _pause_before_retry(error: ProviderUnreachable) -> float | None:
    """Seconds before a question is asked again; None if that is the caller's to decide."""
    if error.retry_after_s is None:
        return random.uniform(0.1, 0.5)
    return error.retry_after_s if error.retry_after_s <= LONGEST_OBEYED_WAIT_S else None
