"""Who delivers a job's webhooks, and what waits."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

from shared.store.store import Store
from shared.store.webhooks import WebhookEnd
from shared.webhook import WebhookMessage, WebhookTarget
from tests.shared.store.journal import BEGIN, job_spec

TARGET = WebhookTarget(url="https://hooks.example/x", interval_steps=5)


def message(place: str) -> WebhookMessage:
    return WebhookMessage(id=f"msg_abc_{place}", body=f'{{"step":"{place}"}}', created_at=BEGIN)


async def put(store: Store, job_id: str = "job-one") -> None:
    await store.add_job(job_spec(job_id), "local")
    first = message("queued") if job_id == "job-one" else message(job_id)
    await store.webhooks.keep_target(job_id, TARGET, first)


async def outcomes(store: Store) -> list[tuple[str, str]]:
    found = await store.webhooks.messages("job-one")
    return [(each.message.id.removeprefix("msg_abc_"), each.outcome) for each in found]


async def test_a_target_comes_back_and_its_job_has_a_first_message(store: Store) -> None:
    await put(store)
    other = TARGET.model_copy(update={"url": "https://hooks.example/y"})
    await store.webhooks.keep_target("job-one", other, message("queued"))

    found = await store.webhooks.target("job-one")
    assert found is not None
    assert (found.target, found.sender) == (other, WebhookEnd.CONSOLE)
    assert await store.webhooks.target("job-two") is None
    assert await outcomes(store) == [("queued", "waiting")]


async def test_messages_change_hands_and_are_never_there_twice(store: Store) -> None:
    await put(store)

    await store.webhooks.handed_over("job-one", ["msg_abc_queued"])
    [open_one] = await store.webhooks.open()
    assert open_one.sender is WebhookEnd.AGENT
    assert await outcomes(store) == [("queued", "handed_over")]

    left = [message("queued"), message("1_7"), message("1_9")]
    await store.webhooks.taken_back("job-one", left)
    await store.webhooks.taken_back("job-one", left)
    await store.webhooks.add("job-one", [message("1_9"), message("end")])
    [open_one] = await store.webhooks.open()
    assert open_one.sender is WebhookEnd.CONSOLE
    waiting = [(place, "waiting") for place in ("queued", "1_7", "1_9", "end")]
    assert await outcomes(store) == waiting


async def test_a_message_that_was_delivered_meanwhile_is_not_taken_back(store: Store) -> None:
    await put(store)
    await store.webhooks.note_try(["msg_abc_queued"], "delivered")

    await store.webhooks.handed_over("job-one", ["msg_abc_queued"])
    await store.webhooks.taken_back("job-one", [message("queued")])

    assert await outcomes(store) == [("queued", "delivered")]


async def test_tries_are_counted_with_their_error_and_the_next_moment(store: Store) -> None:
    await put(store)
    later = BEGIN + timedelta(minutes=5)

    await store.webhooks.note_try(["msg_abc_queued"], "waiting", "500", later)
    await store.webhooks.note_try(["msg_abc_queued"], "waiting", "reset", later)

    [found] = await store.webhooks.messages("job-one")
    assert (found.tries, found.error, found.next_try_at) == (2, "reset", later)


async def test_what_is_settled_is_not_looked_at_any_more(store: Store) -> None:
    await put(store)
    await put(store, "job-two")

    await store.webhooks.close("job-one")

    assert [each.job_id for each in await store.webhooks.open()] == ["job-two"]


async def test_no_column_is_for_a_secret(store: Store, database: Path) -> None:
    await put(store)
    with sqlite3.connect(database) as connection:
        columns = [row[1] for row in connection.execute("pragma table_info(webhook_targets)")]
    assert columns == ["training_job_id", "url", "interval_steps", "allow_private", "sender"]
