"""A controller in a process of its own, in a hurry, for whoever wants to kill it.

    python -m tests.end_to_end.quick_controller

It is `brightrun serve` with the settings of the tests; home and key come from the environment.
"""

from __future__ import annotations

import asyncio
import signal

from tests.end_to_end.rented import QUICK
from tui.services.controller.controller import controlling
from tui.services.session import open_session


async def main() -> None:
    """Until SIGTERM."""
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    async with (
        open_session() as session,
        controlling(
            session, kind="serve", settings=QUICK, on_news=lambda text: print(text, flush=True)
        ),
    ):
        await ending.wait()


if __name__ == "__main__":
    asyncio.run(main())
