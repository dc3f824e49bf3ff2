"""Writes down what `brightrun dataset check` has found, once it is printed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from shared.errors import StoreError
from tui.commands.output import say
from tui.config import load_config
from tui.services.dataset_check import NOT_READABLE, CheckedFile


def record_checks(files: Iterable[CheckedFile]) -> None:
    """Keep the reports for `brightrun dataset list` and the console, and say what has changed.

    A file of which nothing can be read is left out. That a check cannot be written down is said,
    and does not make it fail.
    """
    readable = [file for file in files if file.dataset and file.report.shape != NOT_READABLE]
    if not readable:
        return
    try:
        asyncio.run(_record(readable))
    except StoreError as error:
        say(f"not written down: {error}")


async def _record(files: Iterable[CheckedFile]) -> None:
    # The database takes longer to import than a small file to check.
    from shared.store.store import open_store
    from tui.services.dataset_registry import change_since_check, record_check

    async with open_store(load_config().database_path) as store:
        for checked in files:
            change = await change_since_check(store, checked)
            await record_check(store, checked)
            if change:
                say(f"{checked.path} {change}.")
