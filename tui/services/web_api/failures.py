"""Turns whatever is raised behind it into a problem, as pure ASGI."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BrightRunError
from tui.services.web_api.problems import ProblemError, problem_of

logger = logging.getLogger(__name__)

_DEFECT = ProblemError(500, "A defect of this server; its log says more.")


class Failures:
    """The outermost loop of a request: none ends without a word to who asked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_noticed(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noticed)
        except ProblemError as error:
            told = error
        except BrightRunError as error:
            told = problem_of(error)
        except Exception:
            logger.exception("%s %s", scope["method"], scope["path"])
            told = _DEFECT
        else:
            return
        if not has_begun:
            await told.response()(scope, receive, send)
