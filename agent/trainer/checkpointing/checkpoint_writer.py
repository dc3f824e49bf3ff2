"""Writes snapshots in a thread of its own, so that the training waits for no disk.

One place for a snapshot that waits: a newer one takes it over. A snapshot is due, or only kept, for
the case that the run ends before the next one. When the thread dies, the training thread hears of
it at its next call; no wait is without end. It knows nothing of files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from agent.trainer.checkpointing.snapshot import Snapshot
from agent.trainer.failures import CheckpointWriterDied

WAIT_LIMIT_S = 900.0
"""Longest wait for the disk; a checkpoint of 1.25 GB takes that long at 1.4 MB/s."""

_LOOK_S = 0.5
"""How often a wait looks whether the thread still lives."""


class CheckpointWriter:
    """Commits the newest snapshot that is due; leaving the context flushes, come what may."""

    def __init__(
        self,
        commit: Callable[[Snapshot], None],
        give_back: Callable[[Snapshot], None],
        wait_limit_s: float = WAIT_LIMIT_S,
    ) -> None:
        self._commit = commit
        self._give_back = give_back
        self._wait_limit_s = wait_limit_s
        self._changed = threading.Condition()
        self._waiting: Snapshot | None = None
        self._is_due = False
        self._is_writing = False
        self._is_closing = False
        self._failure: BaseException | None = None
        self._cpu_s = 0.0
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the newest snapshot, due or not, and end; an error on its way out is not hidden."""
        is_flushed = self.flush(self._wait_limit_s)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if error is None:
            self._raise_if_dead()
            if not is_flushed:
                raise CheckpointWriterDied(self._overdue())

    @property
    def cpu_s(self) -> float:
        """Processor time that the thread has taken so far."""
        return self._cpu_s

    def submit(self, snapshot: Snapshot, *, is_due: bool, replaces_due: bool = True) -> None:
        """Hand over a snapshot, which is no longer the caller's.

        Without `replaces_due` one that is due is not replaced: the caller waits until its writing
        has begun.

        Raises:
            CheckpointWriterDied: nothing is written any more, or nothing for too long.
        """
        if not replaces_due:
            began = time.monotonic()
            begun = self._wait_for(lambda: not self._is_due, self._wait_limit_s)
            snapshot.stall_s += time.monotonic() - began
            if not begun and self._failure is None:
                raise CheckpointWriterDied(self._overdue())
        self._raise_if_dead()
        with self._changed:
            replaced, self._waiting = self._waiting, snapshot
            self._is_due = self._is_due or is_due
            self._changed.notify_all()
        if replaced is not None:
            self._give_back(replaced)

    def flush(self, timeout_s: float) -> bool:
        """Have the newest snapshot written, due or not; True once nothing is left to write."""
        with self._changed:
            self._is_due = self._waiting is not None
            self._changed.notify_all()
        done = self._wait_for(lambda: not self._is_due and not self._is_writing, timeout_s)
        return done and self._failure is None

    def _wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """False after the timeout, or once the thread is dead."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._thread.is_alive():
                    return False
                self._changed.wait(min(left_s, _LOOK_S))
        return True

    def _raise_if_dead(self) -> None:
        if self._failure is not None:
            raise CheckpointWriterDied(
                f"checkpoints cannot be written any more: {self._failure!r}"
            ) from self._failure
        if not self._thread.is_alive():
            raise CheckpointWriterDied("the thread that writes checkpoints has ended")

    def _overdue(self) -> str:
        return f"a checkpoint was not written within {self._wait_limit_s:.0f} s: look at the disk"

    # --- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (snapshot := self._next()) is not None:
                self._commit(snapshot)
                self._give_back(snapshot)
                self._cpu_s = time.thread_time()
                self._idle()
        except BaseException as error:  # Whatever it is, the training thread has to raise it.
            self._failure = error
            self._idle()

    def _next(self) -> Snapshot | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._is_due)
            if self._is_closing:
                return None
            snapshot, self._waiting = self._waiting, None
            self._is_due, self._is_writing = False, True
            self._changed.notify_all()
            return snapshot

    def _idle(self) -> None:
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
