"""`brightrun serve`: drives rented jobs and the queue without a screen, on an always-on machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from shared.clean_text import clean_line
from shared.errors import BrightRunError
from shared.events import utc_now
from tui import exit_codes
from tui.services.background import Background
from tui.services.controller.controller import Controller
from tui.services.host_queue import HostQueue
from tui.services.session import Session, open_session

_POLL_S = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def serve() -> int:
    """Until a signal. One line an event on stdout; jobs and machines go on without it.

    Raises:
        StoreError: the database cannot be used.
    """
    async with open_session() as session:
        controller = Controller(session, kind="serve", on_news=_say)
        _say(f"controls the rented jobs in {session.config.database_path}")
        _say("hands queued jobs over to hosts of your own")
        _say_missing_key(session)
        running = asyncio.create_task(controller.run())
        giving = asyncio.create_task(HostQueue(session, on_news=_say).run())
        sending = asyncio.create_task(Background(session, "serve", say=_say).run())
        telling = asyncio.create_task(_tell_who_leads(controller))
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, running.cancel)
        try:
            await running
        except asyncio.CancelledError:
            _say("leaves; jobs and machines go on, and their own limits hold")
        finally:
            for task in (telling, giving, sending):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
    return exit_codes.OK


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
