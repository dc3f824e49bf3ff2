"""The training files that were checked here: what is written down of them, and what has changed.

Never changes or removes a file of the user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from shared.dataset.findings import Severity
from shared.errors import InvalidDataset
from shared.events import utc_now
from shared.number_text import date_and_clock
from shared.store.store import Store
from shared.store.stored import FileUse, MergedSource, StoredFile
from tui.services.dataset_check import CheckedFile, readable


class FileState(StrEnum):
    """Whether the bytes that were checked are still where they were, without reading them."""

    HERE = "here"
    MODIFIED = "modified"
    """Written to since the check, or of another size: another check tells what changed."""
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A row of the registry, and what became of the file since."""

    file: StoredFile
    state: FileState
    jobs: tuple[FileUse, ...] = ()
    """Newest first."""


def stored_file(checked: CheckedFile, merged_from: tuple[MergedSource, ...] = ()) -> StoredFile:
    """What the registry keeps of a check that has just been made.

    Raises:
        InvalidDataset: nothing of the file could be read.
    """
    report, dataset = checked.report, readable(checked)
    return StoredFile(
        sha256=dataset.sha256,
        name=dataset.file_name,
        path=str(checked.path.absolute()),
        size_bytes=dataset.size_bytes,
        conversations=report.conversations,
        turns=report.turns,
        trained_targets=report.trained_targets,
        tokens=report.tokens,
        errors=report.count(Severity.ERROR),
        warnings=report.count(Severity.WARNING),
        checked_at=utc_now(),
        shape=report.shape,
        targets=report.targets,
        longest_tokens=report.longest_tokens,
        base_model=checked.base_model,
        tokens_are_estimated=report.tokens_are_estimated,
        finding_counts={key.value: counts for key, counts in report.finding_counts.items()},
        merged_from=merged_from,
    )


async def record_check(
    store: Store, checked: CheckedFile, merged_from: tuple[MergedSource, ...] = ()
) -> StoredFile:
    """Write down what a check has found; the same bytes again are the same row.

    Raises:
        InvalidDataset: nothing of the file could be read.
        StoreError: the store cannot be written.
    """
    if not merged_from:  # What a merged set was made of is known only where it is made.
        merged_from = await _merged_from(store, readable(checked).sha256)
    file = stored_file(checked, merged_from)
    await store.training_files.record(file, checked.report)
    return file


async def known_files(store: Store) -> list[KnownFile]:
    """All training files that were checked here, last checked first.

    Raises:
        StoreError: the store cannot be read.
    """
    files, uses = await store.training_files.all(), await store.training_files.uses()
    states = await asyncio.to_thread(lambda: [state_of(file) for file in files])
    return [
        KnownFile(file, state, tuple(uses.get(file.sha256, ())))
        for file, state in zip(files, states, strict=True)
    ]


def state_of(file: StoredFile) -> FileState:
    """A cheap look at the file; blocks on a slow disk."""
    try:
        found = Path(file.path).stat()
    except (OSError, ValueError):
        return FileState.GONE
    written_at = datetime.fromtimestamp(found.st_mtime, UTC)
    is_same = found.st_size == file.size_bytes and written_at <= file.checked_at
    return FileState.HERE if is_same else FileState.MODIFIED


async def earlier_content(store: Store, path: Path, sha256: str) -> StoredFile | None:
    """What this path held when it was last checked, if that was not the content it holds now.

    Raises:
        StoreError: the store cannot be read.
    """
    known = await store.training_files.at_path(str(path.absolute()))
    return None if known is None or known.sha256 == sha256 else known


async def change_since_check(store: Store, checked: CheckedFile) -> str:
    """How the content differs from what its path held before; empty where it does not.

    Raises:
        InvalidDataset: nothing of the file could be read.
        StoreError: the store cannot be read.
    """
    earlier = await earlier_content(store, checked.path, readable(checked).sha256)
    return "" if earlier is None else change_words(earlier, stored_file(checked))


def change_words(old: StoredFile, new: StoredFile) -> str:
    """`has changed since it was checked on ...: conversations 82 -> 57, ...`; no full stop."""
    changes = ", ".join(count_changes(old, new)) or "other texts, the same counts"
    return f"has changed since it was checked on {date_and_clock(old.checked_at)}: {changes}"


def count_changes(old: StoredFile, new: StoredFile) -> list[str]:
    """`conversations 82 -> 57` for each count that differs; those that are unknown are left out."""
    return [
        f"{name} {before:,} -> {after:,}"
        for name, before, after in _pairs_of_counts(old, new)
        if before is not None and after is not None and before != after
    ]


def _pairs_of_counts(
    old: StoredFile, new: StoredFile
) -> Iterator[tuple[str, int | None, int | None]]:
    yield "conversations", old.conversations, new.conversations
    yield "turns", old.turns, new.turns
    yield "targets", old.targets, new.targets
    yield "trained targets", old.trained_targets, new.trained_targets
    if _tokens_compare(old, new):
        yield "tokens", old.tokens, new.tokens
        yield "longest", old.longest_tokens, new.longest_tokens
    yield "errors", old.errors, new.errors
    yield "warnings", old.warnings, new.warnings
    yield "bytes", old.size_bytes, new.size_bytes


def _tokens_compare(old: StoredFile, new: StoredFile) -> bool:
    """The tokens of two models differ even where the texts do not."""
    return (old.base_model, old.tokens_are_estimated) == (new.base_model, new.tokens_are_estimated)


async def _merged_from(store: Store, sha256: str) -> tuple[MergedSource, ...]:
    try:
        return (await store.training_files.find(sha256)).merged_from
    except InvalidDataset:
        return ()
