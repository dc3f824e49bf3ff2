"""A machine's copies of base models, and a filling one, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.clean_text import clean_line
from shared.events import ModelProgress
from shared.model_cache import CachedModel, Filled
from shared.number_text import date_and_clock, duration, many, size

CACHE_HEADERS = ["MODEL", "REVISION", "SIZE", "LAST USED", "STATE"]
_SHOWN_DIGITS = 12


def cache_row(model: CachedModel) -> list[str]:
    """One line of the table."""
    return [
        clean_line(model.base_model),
        revision_words(model),
        size(model.size_bytes),
        date_and_clock(model.last_used_at or model.created_at),
        state_words(model),
    ]


def revision_words(model: CachedModel) -> str:
    """The commit, shortened, and what was asked for where that was something else."""
    commit = model.revision if model.revision.startswith("local-") else model.revision[:12]
    asked = model.requested_revision
    return clean_line(commit if asked in (None, model.revision) else f"{commit} ({asked})")


def state_words(model: CachedModel) -> str:
    """Whether a job can use it."""
    if model.is_complete:
        return "complete"
    return clean_line(model.trouble or "is not complete")


def cache_to_dict(model: CachedModel) -> dict[str, Any]:
    """For --json."""
    return model.model_dump(mode="json", exclude={"kind"})


def prune_words(models: Sequence[CachedModel]) -> str:
    """`2 copies, 79.0 GB`."""
    freed = sum(model.size_bytes for model in models)
    return f"{many(len(models), 'copy', 'copies')}, {size(freed)}"


def filled_words(filled: Filled, where: str) -> str:
    """How it ended."""
    model = filled.model
    name = clean_line(f"{model.base_model} at {model.revision[:_SHOWN_DIGITS]}")
    if filled.was_there:
        return f"{name} was there already, and every hash holds ({size(model.size_bytes)})."
    return (
        f"{name} is on {clean_line(where)} now: {size(model.size_bytes)} in "
        f"{duration(filled.seconds)}, {size(filled.downloaded_bytes)} downloaded."
    )


def rate_words(progress: ModelProgress) -> str:
    """`118.3 MB/s, 0:12:30 left`; as far as it can be told."""
    rate = progress.bytes_per_s
    words = [] if not rate else [f"{size(round(rate))}/s"]
    if progress.eta_s is not None:
        words.append(f"{duration(progress.eta_s)} left")
    return ", ".join(words)
