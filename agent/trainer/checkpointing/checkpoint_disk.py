"""Commits snapshots where there is room for them, and lets older checkpoints go.

Runs in the writer's thread. A disk that is full, or nearly, costs checkpoints and never the run;
the newest committed checkpoint always stays.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from agent.trainer.checkpointing import checkpoints
from agent.trainer.checkpointing.snapshot import Snapshot
from agent.trainer.failures import is_disk_full
from shared import events, manifest


class Observer(Protocol):
    """Who is told; from any thread."""

    def write(self, event: events.Event) -> None: ...


class CheckpointDisk:
    """The folders of a job's checkpoints: this attempt's first, then the earlier ones'."""

    def __init__(
        self,
        folders: Sequence[Path],
        observer: Observer,
        *,
        kept: int,
        floor_bytes: int,
        facts: dict[str, Any],
    ) -> None:
        self._folders = folders
        self._observer = observer
        self._kept = kept
        self._floor_bytes = floor_bytes
        self._facts = facts
        self._is_below_floor = False
        self.last_step: int | None = None
        """Of the newest checkpoint that this attempt has committed or begun with."""

    def commit(self, snapshot: Snapshot) -> None:
        """Write the snapshot down if the disk lets it, and say what came of it.

        Raises:
            OSError: the disk fails in another way than by being full.
        """
        if not self._has_room(snapshot.size_bytes):
            return
        began = time.monotonic()
        folder = self._folders[0]
        try:
            directory = checkpoints.with_room(
                self._folders, lambda: checkpoints.save(folder, snapshot, self._facts)
            )
        except OSError as error:
            if not is_disk_full(error):
                raise
            # The run is worth more than one checkpoint: the last committed one still stands.
            self._say("error", f"of step {snapshot.step} not saved, the disk is full: {error}")
            return
        self._report(directory, snapshot, time.monotonic() - began)
        checkpoints.prune(self._folders, self._kept)

    def _report(self, directory: Path, snapshot: Snapshot, seconds: float) -> None:
        self.last_step = snapshot.step
        self._observer.write(
            events.CheckpointCommitted(
                step=snapshot.step,
                path=str(directory),
                manifest_sha256=manifest.manifest_sha256(directory),
                size_bytes=sum(entry.stat().st_size for entry in directory.iterdir()),
                seconds=seconds,
                stall_s=snapshot.stall_s,
            )
        )

    def _has_room(self, size_bytes: int) -> bool:
        """Make room down to the newest checkpoint; what changes is said once."""
        if self._missing_bytes(size_bytes) > 0:
            checkpoints.make_room(self._folders)
        missing_bytes = self._missing_bytes(size_bytes)
        was_below, self._is_below_floor = self._is_below_floor, missing_bytes > 0
        if self._is_below_floor and not was_below:
            self._say(
                "warning",
                f"not saved: {missing_bytes / 1e6:.0f} MB more must be free for one to leave "
                f"disk_floor_bytes = {self._floor_bytes}; the newest of before stays",
            )
        elif was_below and not self._is_below_floor:
            self._say("info", "saved again: there is room on the disk")
        return not self._is_below_floor

    def _missing_bytes(self, size_bytes: int) -> int:
        folder = self._folders[0]
        folder.mkdir(parents=True, exist_ok=True)
        return self._floor_bytes + size_bytes - shutil.disk_usage(folder).free

    def _say(self, level: Any, what: str) -> None:
        self._observer.write(events.LogLine(level=level, message=f"checkpoint {what}"))
