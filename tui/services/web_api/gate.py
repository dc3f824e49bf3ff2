"""What every request passes first, as pure ASGI: the names it asks for, and headers of safety.

The Host and Origin checks keep a web page, in a browser that reaches this port, from speaking in
its user's name, also where a name was made to point here (DNS rebinding). Outermost, so that no
answer leaves without its headers.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tui.services.web_api.problems import ProblemError
from tui.services.web_api.settings import ApiSettings

_SAFETY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Gate:
    """Lets in who asks for this server by its name, and from no web page but those allowed."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._names = settings.host_names
        self._origins = frozenset(settings.allow_origins)
        self._most = settings.requests_at_once
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # There are no websockets here.
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFETY.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(Headers(scope=scope))
        if refusal is not None:
            await refusal.response()(scope, receive, send_safely)
            return
        self._at_work += 1
        try:
            await self._app(scope, receive, send_safely)
        finally:
            self._at_work -= 1

    def _refusal(self, headers: Headers) -> ProblemError | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _name_of(hosts[0]) not in self._names:
            return ProblemError(403, "The Host header names another server.")
        origins = headers.getlist("origin")
        if origins and (len(origins) != 1 or origins[0] not in self._origins):
            return ProblemError(403, "Web pages of this origin may not speak to this server.")
        if self._at_work >= self._most:
            return ProblemError(503, "Too many requests at once.", headers={"Retry-After": "1"})
        return None


def _name_of(host: str) -> str:
    """Without the port; `[::1]:8787` is ::1."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
