"""Joins the frames of a connection that are here already, so that they are stored at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

_MOST_JOINED = 64
"""Frames stored in one transaction ..."""
_ENOUGH_JOINED_BYTES = 1 << 19
"""... unless they are long: of 10,000 records at once, each costs a third more than of 1,500, since
Python's garbage collector looks at them again and again (measured 2026-11)."""

Receive = Callable[[], Coroutine[Any, Any, bytes]]


async def joined(receive: Receive) -> AsyncGenerator[bytes]:
    """What `receive` returns call by call, joined by line breaks with what is there behind it.

    Storing a few records takes about as long as storing one, so a frame that came late is not left
    behind. Looking without waiting by a time limit of 0 s would not do: in Python 3.11 a Ctrl-C
    that comes just before it is taken for the limit, and lost.
    """
    coming = _coming(receive)
    try:
        while True:
            frames = [await coming]
            size_bytes = len(frames[0])
            coming = _coming(receive)
            await asyncio.sleep(0)  # a frame that is here comes without a pause
            while (
                len(frames) < _MOST_JOINED
                and size_bytes < _ENOUGH_JOINED_BYTES
                and coming.done()
                and coming.exception() is None
            ):
                frames.append(coming.result())
                size_bytes += len(frames[-1])
                coming = _coming(receive)
                await asyncio.sleep(0)
            yield b"\n".join(frames)
    finally:
        coming.cancel()


def _coming(receive: Receive) -> asyncio.Task[bytes]:
    """The next frame; nobody has to look at its error."""
    coming = asyncio.create_task(receive())
    coming.add_done_callback(lambda frame: frame.cancelled() or frame.exception())
    return coming
