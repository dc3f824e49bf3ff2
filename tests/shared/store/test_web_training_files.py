"""Training files of the web application that are here."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from shared.store.store import Store
from shared.store.web_training_files import WebFile
from tests.shared.store.journal import BEGIN

ONE = WebFile("11111111-1111-4111-8111-111111111111", "a" * 64, "one", "/here/one.json", BEGIN)
OTHER = replace(ONE, id="22222222-2222-4222-8222-222222222222", name="other")


async def test_the_latest_bytes_of_a_row_are_known(store: Store) -> None:
    assert await store.web_files.get(ONE.id) is None
    later = replace(ONE, sha256="b" * 64, fetched_at=BEGIN + timedelta(days=1))
    for file in (ONE, OTHER, later):
        await store.web_files.put(file)

    assert await store.web_files.get(ONE.id) == later
    assert await store.web_files.all() == {ONE.id: later, OTHER.id: OTHER}


async def test_what_came_since_a_moment_can_be_told(store: Store) -> None:
    await store.web_files.put(ONE)
    since = store.notifications.files_fetched_since
    assert await since(BEGIN) == []
    assert await since(BEGIN - timedelta(seconds=1)) == [(ONE.id, "one", ONE.sha256, BEGIN)]
