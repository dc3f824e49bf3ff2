"""A controller in a process of its own, which can be told to die while it is at a phase.

    python -m tests.end_to_end.controller_process '{"lease_s": 2.0}' [PHASE SECONDS]

The settings are those of the tests, with these changes. It is killed with SIGKILL so long after the
first step of PHASE has begun, and at the latest once the job has left that phase.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shared.rental import RentalPhase
from tests.end_to_end.rented import QUICK
from tui.services.controller import controller
from tui.services.controller.work import Work
from tui.services.session import open_session


def start(phase: str = "", seconds: float = 0.0, **settings: Any) -> Sequence[str]:
    """The command for it; run it with `subprocess`."""
    told = json.dumps(settings)
    command = [sys.executable, "-m", "tests.end_to_end.controller_process", told]
    return [*command, phase, str(seconds)] if phase else command


def _die_in(phase: RentalPhase, seconds: float) -> None:
    step = controller._STEPS[phase]

    async def dies(work: Work) -> None:
        if seconds:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        else:
            os.kill(os.getpid(), signal.SIGKILL)
        await step(work)
        if work.rental.phase is not phase:
            os.kill(os.getpid(), signal.SIGKILL)  # The next phase is for its successor.

    controller._STEPS[phase] = dies


async def _run(settings: dict[str, Any]) -> None:
    async with (
        open_session() as session,
        controller.controlling(session, kind="console", settings=replace(QUICK, **settings)),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _die_in(RentalPhase(sys.argv[2]), float(sys.argv[3]))
    asyncio.run(_run(json.loads(sys.argv[1])))
