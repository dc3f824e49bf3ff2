from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from tui.services.joined_frames import joined


async def first_batches(frames: list[bytes], count: int) -> list[bytes]:
    """What comes of frames that are all there; behind them the connection breaks."""
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    for frame in frames:
        queue.put_nowait(frame)

    async def receive() -> bytes:
        if queue.empty():
            raise EOFError
        return await queue.get()

    async with aclosing(joined(receive)) as batches:
        return [await anext(batches) for _ in range(count)]


async def test_frames_that_are_there_come_together_and_in_order() -> None:
    assert await first_batches([b"1", b"2\n3", b"4"], 1) == [b"1\n2\n3\n4"]


async def test_a_break_comes_after_what_came_before_it() -> None:
    with pytest.raises(EOFError):
        await first_batches([b"1", b"2"], 2)


async def test_long_frames_are_not_heaped_up() -> None:
    long = b"x" * 300_000

    batches = await first_batches([long] * 5, 3)

    assert [len(batch) // 300_000 for batch in batches] == [2, 2, 1]
