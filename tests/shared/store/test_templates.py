from __future__ import annotations

import pytest

from shared.errors import InvalidInput
from shared.store.store import Store


async def test_what_is_kept_comes_back_as_it_was_also_where_nobody_knows_it(store: Store) -> None:
    settings = {"base_model": "tiny", "of_the_future": {"deep": [1, None, "ü"]}}
    await store.templates.save("big", settings)
    await store.templates.save("also", {})

    found = await store.templates.get("big")

    assert found.settings == settings
    assert [each.name for each in await store.templates.all()] == ["also", "big"]


async def test_a_name_that_is_taken_is_replaced_only_where_that_is_said(store: Store) -> None:
    await store.templates.save("big", {"a": 1})
    with pytest.raises(InvalidInput, match="there is one of that name"):
        await store.templates.save("big", {"a": 2})
    first = await store.templates.get("big")
    assert first.settings == {"a": 1}

    await store.templates.save("big", {"a": 2}, replace=True)

    second = await store.templates.get("big")
    assert second.settings == {"a": 2}
    assert (second.created_at, second.updated_at > first.updated_at) == (first.created_at, True)


async def test_a_template_that_is_gone_is_not_found(store: Store) -> None:
    await store.templates.save("big", {})
    await store.templates.delete("big")
    for missing in (store.templates.get("big"), store.templates.delete("big")):
        with pytest.raises(InvalidInput, match="there is none"):
            await missing
