"""Says how a training file differs from the one that a job was given."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared.errors import InvalidDataset
from shared.job_spec import JobSpec
from shared.store.store import Store
from tui.services.dataset_check import CheckedFile, check_training_file, settings_of
from tui.services.dataset_registry import change_words, stored_file
from tui.services.inspection import encoder_of

_ADVICE = (
    "Nothing was started. Start a new job to train it as it is now, "
    "or put the earlier content back and try again."
)


async def change_in_words(store: Store, path: Path, spec: JobSpec, host: str) -> str:
    """A sentence with the counts of then and now, and what to do.

    Raises:
        StoreError: the store cannot be read.
    """
    try:
        before = await store.training_files.find(spec.dataset.sha256)
    except InvalidDataset:  # Another console checked it.
        return f"{path}: is not the file that job was given. {_ADVICE}"
    try:
        now = stored_file(await asyncio.to_thread(_look, path, spec, host))
    except InvalidDataset as error:
        return f"{path}: has changed since it was checked, and cannot be read now. {error}"
    return f"{path}: {change_words(before, now)}. {_ADVICE}"


def _look(path: Path, spec: JobSpec, host: str) -> CheckedFile:
    return check_training_file(path, settings_of(spec), encoder_of(spec.base_model, host))
