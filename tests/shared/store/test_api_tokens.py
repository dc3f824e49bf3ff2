from __future__ import annotations

from datetime import timedelta

import pytest

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.store.api_tokens import StoredToken
from shared.store.store import Store

USER = "11111111-1111-4111-8111-111111111111"


async def test_a_token_is_found_by_its_hash_alone(store: Store) -> None:
    made = await store.api_tokens.add("web", "a" * 64, ["jobs:read"], USER)
    await store.api_tokens.add("all", "b" * 64, ["jobs:read", "jobs:write"])

    assert await store.api_tokens.with_hash("a" * 64) == made
    assert await store.api_tokens.with_hash("c" * 64) is None
    assert await store.api_tokens.with_hash("web") is None
    found = await store.api_tokens.all()
    assert [each.name for each in found] == ["all", "web"]
    assert [each.user_id for each in found] == [None, USER]
    assert found[0].scopes == ("jobs:read", "jobs:write")


async def test_a_name_stands_for_one_token_and_is_free_again_once_that_is_revoked(
    store: Store,
) -> None:
    await store.api_tokens.add("web", "a" * 64, ["jobs:read"])
    with pytest.raises(InvalidInput, match="there is one of that name"):
        await store.api_tokens.add("web", "b" * 64, ["jobs:read"])
    await store.api_tokens.revoke("web")
    assert await store.api_tokens.with_hash("a" * 64) is None
    with pytest.raises(InvalidInput, match="there is none"):
        await store.api_tokens.revoke("web")
    await store.api_tokens.add("web", "b" * 64, ["jobs:read"])


async def test_a_use_is_written_down_once_a_minute_at_most(store: Store) -> None:
    token, now = await store.api_tokens.add("web", "a" * 64, ["jobs:read"]), utc_now()

    async def used() -> StoredToken:
        found = await store.api_tokens.with_hash("a" * 64)
        assert found is not None
        return found

    await store.api_tokens.note_use(token, now)
    seen = await used()
    assert seen.last_used_at == now
    await store.api_tokens.note_use(seen, now + timedelta(seconds=59))
    assert await used() == seen
    later = now + timedelta(seconds=60)
    await store.api_tokens.note_use(seen, later)
    assert (await used()).last_used_at == later
