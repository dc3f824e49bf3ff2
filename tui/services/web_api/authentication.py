"""Who asks: a bearer token for everything but webhooks, which carry a signature instead.

Before the body is looked into, and also for what there is not: a stranger learns no route.
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.events import utc_now
from shared.store.api_tokens import StoredToken
from shared.store.store import Store
from tui.services.web_api.problems import ProblemError, too_often
from tui.services.web_api.rate_limit import RateLimit
from tui.services.web_api.routes import OPENAPI_PATH, WEBHOOK_PATH
from tui.services.web_api.settings import Rate
from tui.services.web_api.tokens import TokenScope, token_of

_WITHOUT_TOKEN = frozenset({OPENAPI_PATH, WEBHOOK_PATH})


class Authentication:
    """Lets in who has a token; leaves it in the request's state."""

    def __init__(self, app: ASGIApp, store: Store, rate: Rate) -> None:
        self._app = app
        self._store = store
        self._limit = RateLimit(rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in _WITHOUT_TOKEN:
            token = await self._token(Headers(scope=scope))
            scope.setdefault("state", {})["token"] = token
        await self._app(scope, receive, send)

    async def _token(self, headers: Headers) -> StoredToken:
        given = headers.getlist("authorization")
        token = await token_of(self._store, given[0]) if len(given) == 1 else None
        if token is None:
            raise ProblemError(
                401,
                "A bearer token is needed, and none that holds was sent: "
                "`brightrun serve token create NAME` makes one.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if wait_s := self._limit.wait_s(token.name):
            raise too_often(wait_s)
        await self._store.api_tokens.note_use(token, utc_now())
        return token


def needs(scope: TokenScope) -> Any:
    """A dependency: the token of the request, which must have this scope."""

    def token_with_scope(request: Request) -> StoredToken:
        token: StoredToken = request.state.token
        if scope not in token.scopes:
            raise ProblemError(
                403,
                f"The token {token.name!r} has no scope {scope}.",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )
        return token

    return Depends(token_with_scope)
