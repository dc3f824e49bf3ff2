"""`brightrun serve`: drives rented jobs and the queue without a screen, on an always-on machine.

With --api it also serves the web application's API, beside the rest and in nobody's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from shared.clean_text import clean_line
from shared.errors import BrightRunError, InvalidInput
from shared.events import utc_now
from tui import exit_codes
from tui.services.background import Background
from tui.services.controller.controller import Controller
from tui.services.host_queue import HostQueue
from tui.services.session import Session, open_session

_POLL_S = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """What was typed about the web application's API."""

    host: str
    port: int
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    model: str | None = None
    job_budget_usd: float | None = None


async def serve(api: ApiOptions | None = None) -> int:
    """Until a signal. One line an event on stdout; jobs and machines go on without it.

    Raises:
        InvalidInput: what serves the API is not installed.
        StoreError: the database cannot be used.
    """
    async with open_session() as session:
        serving = None if api is None else _serving(session, api)
        controller = Controller(session, kind="serve", on_news=_say)
        _say(f"controls the rented jobs in {session.config.database_path}")
        _say("hands queued jobs over to hosts of your own")
        _say_missing_key(session)
        running = asyncio.create_task(controller.run())
        beside = [
            asyncio.create_task(_tell_who_leads(controller)),
            asyncio.create_task(HostQueue(session, on_news=_say).run()),
            asyncio.create_task(Background(session, "serve", say=_say).run()),
        ]
        if serving is not None:
            beside.append(asyncio.create_task(serving))
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, running.cancel)
        try:
            await running
        except asyncio.CancelledError:
            _say("leaves; jobs and machines go on, and their own limits hold")
        finally:
            for task in beside:
                task.cancel()
            for task in beside:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
    return exit_codes.OK


def _serving(session: Session, options: ApiOptions) -> Coroutine[Any, Any, None]:
    """What serves the API, once it is awaited.

    Raises:
        InvalidInput: the extra that brings it is not installed, or what it is told is wrong.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InvalidInput(
            f"--api needs {error.name}, which is not installed: "
            'pip install "brightrun[agent]" brings it.'
        ) from error
    from tui.services.web_api.server import serve_api
    from tui.services.web_api.settings import (
        DEFAULT_MODEL,
        ApiSettings,
        checked_origin,
        webhook_secrets,
    )

    settings = ApiSettings(
        host=options.host,
        port=options.port,
        allow_origins=tuple(map(checked_origin, options.allow_origins)),
        allow_hosts=options.allow_hosts,
        base_model=options.model or DEFAULT_MODEL,
        job_budget_usd=options.job_budget_usd,
        webhook_secrets=webhook_secrets(),
    )
    return serve_api(session, settings, _say)


async def _tell_who_leads(controller: Controller) -> None:
    """Each change of it, once."""
    told = ""
    while True:
        words = _leader(controller)
        if words and words != told:
            _say(words)
        told = words or told
        await asyncio.sleep(_POLL_S)


def _leader(controller: Controller) -> str:
    """Empty while there is nothing to lead, or nobody has looked."""
    if controller.leads:
        return "leads"
    lease = controller.lease
    if lease is None or lease.expires_at <= utc_now():
        return ""
    return f"{lease.label} leads: waits"


def _say_missing_key(session: Session) -> None:
    """Only a word: a key may be put there before the first job."""
    try:
        session.provider()
    except BrightRunError as error:
        _say(str(error))


def _say(text: str) -> None:
    print(clean_line(text), flush=True)
