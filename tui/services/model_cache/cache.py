"""What can be done with the base models that a machine keeps: list, fill, prune.

What is pruned is what was shown before: each copy by its name and commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import InvalidInput, ModelCacheError
from shared.events import ModelProgress
from shared.model_cache import CachedModel, Filled, Pruned
from tui.services.model_cache.places import CachePlace

Progress = Callable[[ModelProgress], None]


@dataclass(frozen=True, slots=True)
class PruneWanted:
    """Which copies may go; every condition that is given must hold."""

    base_model: str | None = None
    """None: all of them."""
    revision: str | None = None
    """A commit, or the branch or tag that was asked for when it was made."""
    older_than_days: float | None = None
    """Not used for so long."""
    partial: bool = False
    """Only what is not complete."""

    @property
    def is_everything(self) -> bool:
        """Nobody has said anything: that is no wish."""
        return self.base_model is None and self.older_than_days is None and not self.partial


def chosen(models: Sequence[CachedModel], wanted: PruneWanted, now: datetime) -> list[CachedModel]:
    """Those that would go.

    Raises:
        InvalidInput: the named model is not there; says what is.
    """
    found = [
        model
        for model in models
        if wanted.base_model in (None, model.base_model)
        and wanted.revision in (None, model.revision, model.requested_revision)
    ]
    if wanted.base_model is not None and not found:
        there = ", ".join(f"{model.base_model} at {model.revision[:12]}" for model in models)
        raise InvalidInput(
            f"{wanted.base_model}: is not in that cache; there is {there or 'nothing'}."
        )
    return [model for model in found if _is_old(model, wanted, now) and _is_part(model, wanted)]


async def listed(place: CachePlace) -> list[CachedModel]:
    """Every copy, complete or not, by name; `prepare` has said that there may be some."""
    async with aclosing(place.run("list", ())) as records:
        found = [record async for record in records if isinstance(record, CachedModel)]
    return sorted(found, key=lambda model: (model.base_model, model.revision))


async def prune(place: CachePlace, models: Sequence[CachedModel]) -> list[Pruned]:
    """Remove exactly these; one that is gone already is none of the answer's."""
    done: list[Pruned] = []
    for model in models:
        arguments = ("--model", model.base_model, "--revision", model.revision)
        async with aclosing(place.run("prune", arguments)) as records:
            done += [record async for record in records if isinstance(record, Pruned)]
    return done


async def fill(
    place: CachePlace, base_model: str, revision: str | None, on_progress: Progress
) -> Filled:
    """Have a complete copy of it there; called again, it goes on where it stopped.

    Raises:
        InvalidBaseModel: the model, the revision or the token is wrong.
        ModelCacheError: no answer, a full disk, ...: trying again may help.
    """
    arguments = ["--model", base_model]
    if revision is not None:
        arguments += ["--revision", revision]
    filled: Filled | None = None
    async with aclosing(place.run("fill", arguments)) as records:
        async for record in records:
            if isinstance(record, ModelProgress):
                on_progress(record)
            elif isinstance(record, Filled):
                filled = record
    if filled is None:
        raise ModelCacheError(f"{place.name}: nothing was said of how filling ended; try again.")
    return filled


def _is_old(model: CachedModel, wanted: PruneWanted, now: datetime) -> bool:
    if wanted.older_than_days is None:
        return True
    last = model.last_used_at or model.created_at
    return last is not None and now - last > timedelta(days=wanted.older_than_days)


def _is_part(model: CachedModel, wanted: PruneWanted) -> bool:
    return not (wanted.partial and model.is_complete)
