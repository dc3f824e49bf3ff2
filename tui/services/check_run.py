"""Checks a training file in a thread and writes down what was found; can be stopped.

For who shows progress meanwhile; a command checks by itself and blocks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.errors import BrightRunError
from shared.store.store import Store
from shared.store.stored import MergedSource, StoredFile
from tui.services.dataset_check import (
    CheckedFile,
    CheckSettings,
    OnProgress,
    check_training_file,
)
from tui.services.dataset_registry import change_since_check, record_check
from tui.services.inspection import counting_with
from tui.services.preview import named_base_model, training_file
from tui.services.training_sets import TrainingSet, make_training_set

_PROGRESS_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a check has found, as the registry has it now."""

    file: StoredFile
    change: str = ""
    """How the content differs from what the path held before; empty where it does not."""
    training_set: TrainingSet | None = None
    """Where the file is a set that was merged just now."""
    estimated_because: str = ""
    """Why its tokens are estimates, where that can be mended: a sentence without an end."""


class _Stopped(BrightRunError):
    """Ends a check that nobody waits for any more; never leaves this module."""


async def run_check(
    store: Store,
    typed_path: str,
    settings: CheckSettings,
    on_progress: OnProgress,
    merged_from: tuple[MergedSource, ...] = (),
) -> CheckOutcome:
    """Check the file and record it; cancelling it stops the reading. `on_progress` is called in
    another thread.

    Raises:
        InvalidDataset: nothing of the file can be read.
        InvalidBaseModel: the base model cannot be used.
        StoreError: the result cannot be written down.
    """
    checked, reason = await _in_thread(typed_path, settings, on_progress)
    change = await change_since_check(store, checked)
    file = await record_check(store, checked, merged_from)
    return CheckOutcome(file, change, estimated_because=reason)


async def run_merge(
    store: Store,
    paths: Sequence[Path],
    folder: Path,
    settings: CheckSettings,
    on_progress: OnProgress,
) -> CheckOutcome:
    """Make one training set of these files, check and record it.

    Raises:
        InvalidDataset: a file cannot be read, or the set cannot be written.
        StoreError: the result cannot be written down.
    """
    made = await asyncio.to_thread(make_training_set, paths, folder)
    outcome = await run_check(store, str(made.path), settings, on_progress, made.sources)
    return replace(outcome, training_set=made)


async def _in_thread(
    typed_path: str, settings: CheckSettings, on_progress: OnProgress
) -> tuple[CheckedFile, str]:
    """What was found, and why tokens are estimates where there is more to say."""
    stopped = threading.Event()
    told_at = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told_at
        if stopped.is_set():
            raise _Stopped
        if time.monotonic() - told_at > _PROGRESS_INTERVAL_S:
            told_at = time.monotonic()
            on_progress(done, total)

    def check() -> tuple[CheckedFile, str]:
        named_base_model(settings.base_model)  # Says what is wrong with a directory.
        counting = counting_with(settings.base_model, may_fetch=True)
        path = training_file(typed_path)
        return check_training_file(path, settings, counting.encoder, tell), counting.reason

    try:
        return await asyncio.to_thread(check)
    except asyncio.CancelledError:
        stopped.set()
        raise
