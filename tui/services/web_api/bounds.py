"""How much one caller may ask for, as pure ASGI: requests a second, and bytes of a body.

A body is read here, up to the limit and within a time, so that nothing behind this has to be
careful with it.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tui.services.web_api.problems import ProblemError, too_often
from tui.services.web_api.rate_limit import RateLimit
from tui.services.web_api.settings import ApiSettings

_JSON = "application/json"

_HEARD_OUT = 8
"""Who sends too much is read, and forgotten, up to so many times the limit: where the connection is
closed while bytes are on their way, the answer may be lost on its way back."""

_CLOSING = {"Connection": "close"}
"""The rest of the body is not read, so nothing more can come over this connection."""


class Bounds:
    """Refuses who asks too often, and what is too large, too slow or no JSON."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings
        self._addresses = RateLimit(settings.address_rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if wait_s := self._addresses.wait_s(_caller(scope)):
            raise too_often(wait_s)
        headers = Headers(scope=scope)
        body = await self._body(headers, receive)
        if body:
            _require_json(headers)
        await self._app(scope, _again(body, receive), send)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        limit = self._settings.body_limit_bytes
        told = headers.get("content-length", "0")
        is_too_large = told.isdecimal() and int(told) > limit
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                while True:
                    message = await receive()
                    part = message.get("body", b"")
                    size += len(part)
                    is_too_large = is_too_large or size > limit
                    if not is_too_large:
                        parts.append(part)
                    if not message.get("more_body", False) or size > _HEARD_OUT * limit:
                        break
        except TimeoutError as error:
            raise ProblemError(408, "The body came too slowly.", headers=_CLOSING) from error
        if is_too_large:
            raise ProblemError(413, f"The body has more than {limit} bytes.", headers=_CLOSING)
        return b"".join(parts)


def _require_json(headers: Headers) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if kind != _JSON or encoding != "identity":
        raise ProblemError(415, f"Send the body as {_JSON}, and not compressed.")


def _again(body: bytes, receive: Receive) -> Receive:
    """The body in one message; then whatever comes, such as the caller's leaving."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _caller(scope: Scope) -> str:
    """The address; of IPv6 the network, since who has one address there has 2**64."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return host
