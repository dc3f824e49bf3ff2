"""The trainer's end of the events: appends `TrainerRecord` lines to a file.

A file, never a pipe: nobody has to read it for the trainer to go on. A full disk holds lines back
in memory and loses none of them as long as the process lives. Several threads may write.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from agent.trainer.failures import is_disk_full
from shared.events import Event, TrainerFinished, TrainerRecord, encode, utc_now


class EventWriter:
    """Appends events to the trainer's file, one line each; after the last word no more."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._unwritten = b""
        self._lock = threading.Lock()
        self._has_finished = False

    def write(self, event: Event) -> None:
        """Append one event; on a full disk it is kept and written with the next one.

        Nothing follows a `TrainerFinished`: another thread may still be in the middle of its step.
        """
        line = encode(TrainerRecord(time=utc_now(), event=event)).encode() + b"\n"
        with self._lock:
            if self._has_finished:
                return
            self._has_finished = isinstance(event, TrainerFinished)
            self._append(line)

    def _append(self, line: bytes) -> None:
        self._unwritten += line
        try:
            while self._unwritten:
                written = os.write(self._descriptor, self._unwritten)
                self._unwritten = self._unwritten[written:]
        except OSError as error:
            if not is_disk_full(error):
                raise

    def sync(self) -> None:
        """Make everything written so far durable."""
        os.fsync(self._descriptor)
