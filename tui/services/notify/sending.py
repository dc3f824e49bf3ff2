"""Sends one message to one receiver, through the library apprise.

The only module that knows it. Its calls block, so each has a thread of its own; what it logs may
hold addresses, which are secrets, so nothing of that leaves this module uncleaned.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import re
import threading
from typing import Any
from urllib.parse import unquote

from shared.clean_text import clean, clean_line
from shared.errors import InvalidInput
from shared.redaction import redact
from tui.services.notify.receivers import Receiver

TIMEOUT_S = 60.0
"""For all of it; apprise itself gives up 4 s (HTTP) or 15 s (SMTP) after the last sign of life."""
EXTRA_MISSING = 'Notifications need the extra "notify": pip install "brightrun[notify]".'
_SHORTEST_PIECE = 4
_LONGEST_REASON = 200
_NO_REASON = "it was not taken, and no reason is given"


def require_apprise() -> None:
    """Raises InvalidInput where the extra is not installed; imports nothing of it."""
    if importlib.util.find_spec("apprise") is None:
        raise InvalidInput(EXTRA_MISSING)


def is_understood(receiver: Receiver) -> bool:
    """False for an address of no service that is known, or with a part missing."""
    require_apprise()
    _hush()
    import apprise

    return apprise.Apprise.instantiate(receiver.url) is not None


async def send(receiver: Receiver, title: str, body: str, *, timeout_s: float = TIMEOUT_S) -> str:
    """Send it; returns why it did not arrive, "" where it did. No part of the address is in that.

    Raises:
        InvalidInput: the extra is not installed.
    """
    require_apprise()
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def work() -> None:
        reason = _send(receiver.url, title, body)
        loop.call_soon_threadsafe(_settle, answer, reason)

    # A daemon, unlike the loop's own threads: a receiver that hangs must not keep a console open.
    threading.Thread(target=_quietly, args=(work,), name="notify", daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            reason = await answer
    except TimeoutError:
        return f"no answer in {timeout_s:.0f} s"
    return without_address(reason, receiver.url)


def _settle(answer: asyncio.Future[str], reason: str) -> None:
    if not answer.done():
        answer.set_result(reason)


def _quietly(work: Any) -> None:
    try:
        work()
    except RuntimeError:  # The loop has ended meanwhile; nobody waits for the answer.
        return


def _send(url: str, title: str, body: str) -> str:
    _hush()
    import apprise

    # A redirect would carry what the address holds to somebody whom nobody has named.
    asset = apprise.AppriseAsset(app_id="brightrun", http_redirects=False, async_mode=False)
    everybody = apprise.Apprise(asset=asset)
    try:
        if not everybody.add(url):
            return "the address is not understood; `brightrun notify add` checks one"
        result = everybody.notify(
            title=clean_line(redact(title)),
            body=redact(clean(body)) or clean_line(redact(title)),
            body_format=apprise.NotifyFormat.TEXT,
        )
        with contextlib.closing(result):
            return "" if result else next((entry.message for entry in result.logs()), _NO_REASON)
    except Exception as error:  # Its many plugins raise whatever their libraries raise.
        return type(error).__name__


def _hush() -> None:
    """What these log goes to no file and no screen."""
    for name in ("apprise", "urllib3"):
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())  # else Python prints warnings itself
        logger.setLevel(logging.WARNING)


def without_address(reason: str, url: str) -> str:
    """Whatever stands in the address is left out, but for its scheme."""
    _, _, rest = url.partition("://")
    pieces = set()
    for spelling in (rest, unquote(rest)):
        pieces.update(re.split(r"[/:@?&=#,;]+", spelling))
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= _SHORTEST_PIECE:
            reason = reason.replace(piece, "…")
    return clean_line(redact(reason)).rstrip(".")[:_LONGEST_REASON]
