"""Serves the API on a TCP port, in the process of whoever asks for it, until cancelled.

A server that fails is started again after a pause: whoever runs it has other work, such as
machines that are paid for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from shared.errors import InvalidInput
from tui.services.controller.settings import growing_pause_s
from tui.services.session import Session
from tui.services.web_api.application import create_application
from tui.services.web_api.follower import Follower
from tui.services.web_api.settings import ApiSettings
from tui.services.web_api.starting import JobStart

logger = logging.getLogger(__name__)

_BACKLOG = 128
_SHUTDOWN_S = 3
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0

Say = Callable[[str], None]


async def serve_api(session: Session, settings: ApiSettings, say: Say) -> None:
    """Until cancelled; requests under way then have three seconds."""
    await _advise(session, settings, say)
    failures = 0
    while True:
        try:
            await _serve_once(session, settings, say)
        except InvalidInput as error:
            say(f"{error} It is tried again.")
        except Exception:
            # A defect, here or in uvicorn: it must not end what else this process does.
            logger.exception("the web application's API stopped; it is started again")
        failures += 1
        await asyncio.sleep(growing_pause_s(_FIRST_PAUSE_S, failures, _LONGEST_PAUSE_S))


async def _serve_once(session: Session, settings: ApiSettings, say: Say) -> None:
    starting, follower = JobStart(session, settings), Follower(session)
    app = create_application(session, settings, starting, follower)
    following = asyncio.create_task(follower.run())
    try:
        with _bound(settings) as listener:
            host, port = listener.getsockname()[:2]
            named = f"[{host}]" if ":" in host else host
            say(f"the web application's API answers at http://{named}:{port}")
            await _run(app, listener)
    finally:
        starting.close()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def _run(app: ASGIApp, listener: socket.socket) -> None:
    """Until cancelled, and then to an orderly end."""
    server = _Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            log_config=None,
            # Paths hold ids, and nobody needs them twice.
            access_log=False,
            # What a proxy says of a caller's address is not believed.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _bound(settings: ApiSettings) -> Iterator[socket.socket]:
    """Raises InvalidInput where the address cannot be had."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, address = found[0][0], found[0][4]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InvalidInput(
            f"The web application's API cannot be served at {settings.host} port {settings.port} "
            f"({error.strerror or error}): choose another with --host and --port."
        ) from error
    with listener:
        yield listener


async def _advise(session: Session, settings: ApiSettings, say: Say) -> None:
    """What whoever started it should know."""
    if not settings.is_loopback:
        say(
            f"WARNING: {settings.host} is reached from other machines, and tokens would travel in "
            "clear. Serve it on 127.0.0.1 behind a reverse proxy with TLS (Caddy, nginx), and name "
            "the public host with --allow-host."
        )
    if not await session.store.api_tokens.all():
        say("no token lets anybody in yet: `brightrun serve token create NAME` makes one")
    if not settings.webhook_secrets:
        say("takes no webhooks: TRAINING_WEBHOOK_SECRET is not set")
