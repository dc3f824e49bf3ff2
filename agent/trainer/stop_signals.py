"""SIGTERM and SIGUSR1, heard at any point of a step.

A step of a 70B model takes 14 s, most of it in C++, where Python runs no signal handler; and a
machine that is taken away gives 5 s of notice. So the interpreter's C handler writes each signal's
number into a pipe (`signal.set_wakeup_fd`), and a thread of our own reads it. The main thread is
not needed; no signal is blocked, so a child or the verifier inherits nothing. It knows nothing of
checkpoints.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from agent.trainer.event_writer import EventWriter
from agent.trainer.exit_codes import EXIT_TERMINATED
from shared.events import TrainerFinished
from shared.lifecycle import StopReason

GRACE_S = 1.0
"""From SIGTERM on, for the step and the run to end by themselves."""

LIMIT_S = 4.5
"""From SIGTERM to the end of the process, whatever hangs; RunPod kills 5 s after SIGTERM."""


class StopSignals:
    """What signals have asked for. Within the context SIGUSR1 asks for a checkpoint."""

    def __init__(self, observer: EventWriter) -> None:
        self.terminated = False
        self.wants_checkpoint = False
        self._observer = observer
        self._save: Callable[[float], str] | None = None
        self._over = threading.Event()
        self._previous_handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._reading_end, self._writing_end = os.pipe()
        os.set_blocking(self._writing_end, False)
        self._previous_descriptor = signal.set_wakeup_fd(
            self._writing_end, warn_on_full_buffer=False
        )
        self._listen_to(signal.SIGUSR1)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        signal.set_wakeup_fd(self._previous_descriptor)
        os.close(self._writing_end)
        if not self.terminated:
            for number, handler in self._previous_handlers.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def end_with(self, save: Callable[[float], str]) -> None:
        """From here on SIGTERM saves and ends the process with a last word and a code of its own.

        `save` gets the seconds that it may take, runs in another thread, and says what it did.
        Before this call SIGTERM just ends the process.
        """
        self._save = save
        self._listen_to(signal.SIGTERM)

    def _listen_to(self, number: signal.Signals) -> None:
        self._previous_handlers[number] = signal.signal(number, _nothing)

    # --- in the thread ------------------------------------------------------------------------

    def _listen(self) -> None:
        while number := os.read(self._reading_end, 1):
            if number[0] == signal.SIGUSR1:
                self.wants_checkpoint = True
            elif number[0] == signal.SIGTERM and self._save is not None:
                self._terminate(self._save)
                return
        os.close(self._reading_end)

    def _terminate(self, save: Callable[[float], str]) -> None:
        self.terminated = True
        deadline = time.monotonic() + LIMIT_S
        threading.Thread(target=_exit_at, args=(deadline,), daemon=True).start()
        if self._over.wait(GRACE_S):
            return  # The main thread says the last word.
        detail = save(deadline - time.monotonic())
        self._observer.write(TrainerFinished(stop_reason=StopReason.TRAINER_KILLED, detail=detail))
        self._observer.sync()
        os._exit(EXIT_TERMINATED)


def _exit_at(deadline: float) -> None:
    time.sleep(max(deadline - time.monotonic(), 0))
    os._exit(EXIT_TERMINATED)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Only a handler makes the interpreter write to the pipe."""
