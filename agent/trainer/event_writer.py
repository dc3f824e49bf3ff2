"""The trainer's end of the events: appends `TrainerRecord` lines to a file.

A file, never a pipe: nobody has to read it for the trainer to go on. A full disk holds lines back
in memory and loses none of them as long as the process lives.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.trainer.failures import is_disk_full
from shared.events import Event, TrainerRecord, encode, utc_now


class EventWriter:
    """Appends events to the trainer's file, one line each."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._unwritten = b""

    def write(self, event: Event) -> None:
        """Append one event; on a full disk it is kept and written with the next one."""
        self._unwritten += encode(TrainerRecord(time=utc_now(), event=event)).encode() + b"\n"
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
