"""Who may speak to the agent: a pure ASGI guard for every method and for websockets.

The Host and Origin checks keep a web page, in a browser that reaches the socket through some proxy,
from speaking in its user's name.
"""

from __future__ import annotations

import hmac

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.presence import Presence
from shared.agent_protocol import CLOSED_NO_TOKEN

ALLOWED_HOSTS = frozenset({"agent", "localhost"})


class AccessMiddleware:
    """Refuses what lacks the token, comes from a web page, or asks for another host."""

    def __init__(self, app: ASGIApp, token: str, presence: Presence) -> None:
        self._app = app
        self._presence = presence
        self._authorization = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif (complaint := _foreign(scope)) is not None:
            await _refuse(scope, receive, send, 403, complaint)
        elif self._has_token(scope):
            with self._presence.request():
                await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            # A close code reaches the client only once the handshake is done.
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": CLOSED_NO_TOKEN, "reason": "no token"})
        else:
            await _refuse(scope, receive, send, 401, "The bearer token is missing or wrong.")

    def _has_token(self, scope: Scope) -> bool:
        given = _header_values(scope, b"authorization")
        return len(given) == 1 and hmac.compare_digest(given[0], self._authorization)


def _foreign(scope: Scope) -> str | None:
    """What is wrong with the request's Host or Origin; None if nothing is."""
    hosts = _header_values(scope, b"host")
    names = {host.decode("latin-1").partition(":")[0].lower() for host in hosts}
    if len(hosts) != 1 or not names <= ALLOWED_HOSTS:
        return "The Host header must be agent or localhost."
    if _header_values(scope, b"origin"):
        return "Web pages may not speak to the agent."
    return None


def _header_values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key.lower() == name]


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status_code: int, detail: str
) -> None:
    if scope["type"] == "websocket":
        # Closing before accepting makes the server answer the handshake with 403.
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": detail})
        return
    await JSONResponse({"detail": detail}, status_code=status_code)(scope, receive, send)
