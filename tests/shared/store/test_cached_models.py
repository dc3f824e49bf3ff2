"""Which base models lie on which network volume."""

from __future__ import annotations

from shared.store.cached_models import ModelOnVolume
from shared.store.store import Store
from tests.shared.store.journal import BEGIN

ONE = ModelOnVolume("vol-1", "org/one", "1" * 40, 40_000_000_000, BEGIN)
OTHER = ModelOnVolume("vol-1", "org/two", "2" * 40, None, BEGIN)
ELSEWHERE = ModelOnVolume("vol-2", "org/one", "3" * 40, 5, BEGIN)


async def test_a_copy_is_known_once_however_often_it_is_seen(store: Store) -> None:
    for model in (ONE, ONE, ELSEWHERE):
        await store.cached_models.put(model)
    assert await store.cached_models.all() == [ONE, ELSEWHERE]


async def test_a_look_at_a_volume_replaces_what_was_known_of_it_and_of_no_other(
    store: Store,
) -> None:
    for model in (ONE, ELSEWHERE):
        await store.cached_models.put(model)
    await store.cached_models.replace_all("vol-1", [OTHER])
    assert await store.cached_models.all() == [OTHER, ELSEWHERE]
    await store.cached_models.replace_all("vol-1", [])
    assert await store.cached_models.all() == [ELSEWHERE]


async def test_a_volume_has_a_model_at_a_commit_or_at_any(store: Store) -> None:
    for model in (ONE, OTHER, ELSEWHERE):
        await store.cached_models.put(model)
    volumes_with = store.cached_models.volumes_with
    assert await volumes_with("org/one", "1" * 40) == ["vol-1"]
    assert await volumes_with("org/one", "9" * 40) == []
    assert sorted(await volumes_with("org/one", "main")) == ["vol-1", "vol-2"]
    assert sorted(await volumes_with("org/one")) == ["vol-1", "vol-2"]
