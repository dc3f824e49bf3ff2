"""What base models are known to take of network volumes; asks no machine."""

from __future__ import annotations

from dataclasses import replace

from shared.model_cache import is_commit
from shared.store.store import Store
from tui.services.rent_options import TrainingWork


async def with_taken(store: Store, work: TrainingWork) -> TrainingWork:
    """The work, with what other base models are known to take of each volume: a lower bound."""
    spec, hub = work.spec, work.found.hub
    commit = spec.base_model_revision if hub is None else hub.commit
    taken: dict[str, int] = {}
    for known in await store.cached_models.all():
        is_other = known.base_model != spec.base_model
        is_other = is_other or (is_commit(commit) and known.revision != commit)
        if is_other:
            taken[known.volume_id] = taken.get(known.volume_id, 0) + (known.size_bytes or 0)
    return replace(work, taken_bytes=taken)
