"""Webhooks that are taken: signed hints to look at a job, which never say how it stands."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from shared.errors import InvalidInput
from shared.events import utc_now
from shared.lifecycle import JobStatus
from shared.store.received_webhooks import KEPT_FOR
from shared.web_id import web_job_id
from tests.tui.services.web_api.served import (
    OLD_SECRET,
    SECRET,
    WEBHOOK,
    Served,
    is_problem,
    served,
    signed,
)
from tui.services.session import Session
from tui.services.web_api.settings import ApiSettings, webhook_secrets
from tui.services.web_objects import store_mark


@pytest.fixture
async def client(api: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with api.caller() as caller:
        yield caller


async def body_of(api: Served, job_id: str = "job-one", **values: Any) -> bytes:
    told = {
        "job_id": web_job_id(await store_mark(api.session.store), job_id),
        "status": "training",
        "step": 3,
        "total_steps": 10,
        "metrics": {"loss": 1.0, "learning_rate": 1e-4, "grad_norm": 1.0, "epoch": 0.5},
        "timestamp": "2026-11-23T12:00:00Z",
        **values,
    }
    return json.dumps(told).encode()


async def post(client: httpx.AsyncClient, headers: dict[str, str], body: bytes) -> httpx.Response:
    return await client.post(WEBHOOK, content=body, headers=headers)


async def test_a_signed_one_is_taken_and_its_second_delivery_is_answered_alike(
    api: Served, client: httpx.AsyncClient
) -> None:
    await api.add_job("job-one")
    body = await body_of(api)

    first = await post(client, signed(SECRET, "msg_1", time.time(), body), body)
    again = await post(client, signed(SECRET, "msg_1", time.time(), body), body)
    other = await post(client, signed(SECRET, "msg_2", time.time(), body), body)

    assert [answer.status_code for answer in (first, again, other)] == [200, 200, 200]
    assert first.json() == {"success": True, "duplicate": False}
    assert again.json() == {"success": True, "duplicate": True}
    assert other.json() == {"success": True, "duplicate": False}


async def test_what_it_says_of_a_status_is_written_nowhere(
    api: Served, client: httpx.AsyncClient
) -> None:
    await api.add_job("job-one")
    before = await api.session.store.get_job("job-one")
    for number, status in enumerate(("completed", "failed", "training", "queued")):
        body = await body_of(api, status=status, error_message="no")
        headers = signed(SECRET, f"msg_{number}", time.time(), body)
        assert (await post(client, headers, body)).status_code == 200

    assert await api.session.store.get_job("job-one") == before


async def test_an_overtaken_one_never_moves_a_job_backwards(
    api: Served, client: httpx.AsyncClient
) -> None:
    await api.add_job("job-one")
    await api.session.store.settle_job("job-one", JobStatus.COMPLETED, "")
    body = await body_of(api, status="training")

    answer = await post(client, signed(SECRET, "msg_late", time.time(), body), body)

    assert answer.status_code == 200
    assert (await api.session.store.get_job("job-one")).status is JobStatus.COMPLETED


async def test_both_secrets_hold_while_they_are_changed_and_no_other(
    api: Served, client: httpx.AsyncClient
) -> None:
    await api.add_job("job-one")
    body = await body_of(api)
    for number, secret in enumerate((SECRET, OLD_SECRET)):
        headers = signed(secret, f"msg_{number}", time.time(), body)
        assert (await post(client, headers, body)).status_code == 200
    wrong = signed("another-secret", "msg_3", time.time(), body)
    is_problem(await post(client, wrong, body), 401)


async def test_replays_forgeries_and_old_ones_are_refused(
    api: Served, client: httpx.AsyncClient
) -> None:
    await api.add_job("job-one")
    body, now = await body_of(api), time.time()
    fine = signed(SECRET, "msg_1", now, body)
    ten_minutes_old = signed(SECRET, "msg_1", now - 600, body)
    from_the_future = signed(SECRET, "msg_1", now + 600, body)
    other_body = await body_of(api, status="completed")
    cases = [
        (ten_minutes_old, body),
        (from_the_future, body),
        ({**ten_minutes_old, "webhook-timestamp": str(int(now))}, body),
        ({**fine, "webhook-id": "msg_2"}, body),
        (fine, other_body),
        ({name: value for name, value in fine.items() if name != "webhook-signature"}, body),
        ({"Content-Type": "application/json"}, body),
        (
            {name: value for name, value in fine.items() if not name.startswith("webhook-")},
            body,
        ),
    ]
    for headers, sent in cases:
        is_problem(await post(client, headers, sent), 401)
    taken = await post(client, fine, body)
    assert taken.json() == {"success": True, "duplicate": False}


async def test_a_job_that_nobody_knows_is_not_found_and_may_come_again(
    api: Served, client: httpx.AsyncClient
) -> None:
    body = await body_of(api)
    is_problem(await post(client, signed(SECRET, "msg_1", time.time(), body), body), 404)

    await api.add_job("job-one")
    again = await post(client, signed(SECRET, "msg_1", time.time(), body), body)
    assert again.json() == {"success": True, "duplicate": False}


async def test_a_signed_body_of_another_kind_is_refused_by_name(
    api: Served, client: httpx.AsyncClient
) -> None:
    await api.add_job("job-one")
    body = await body_of(api, status="dancing")
    problem = is_problem(await post(client, signed(SECRET, "m", time.time(), body), body), 422)
    assert "status" in problem["errors"][0]["field"]
    is_problem(await post(client, signed(SECRET, "m", time.time(), b"{"), b"{"), 400)


async def test_without_a_secret_none_is_taken(session: Session) -> None:
    async with served(session, ApiSettings(port=0)) as api, api.caller() as caller:
        assert any("TRAINING_WEBHOOK_SECRET" in line for line in api.said)
        body = b"{}"
        is_problem(await post(caller, signed(SECRET, "m", time.time(), body), body), 503)


async def test_it_makes_the_job_be_looked_at_once_and_waits_for_nothing(
    api: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    goes_on = asyncio.Event()

    async def slow_look(_: object, job: Any) -> None:
        looks.append(job.job_id)
        await goes_on.wait()

    monkeypatch.setattr(type(api.session.mirror), "catch_up", slow_look)
    await api.add_job("job-one")
    body = await body_of(api)
    for number in range(3):
        headers = signed(SECRET, f"msg_{number}", time.time(), body)
        assert (await post(client, headers, body)).status_code == 200
    assert looks == ["job-one"]
    goes_on.set()


async def test_ids_are_forgotten_after_a_week(session: Session) -> None:
    received, now = session.store.received_webhooks, utc_now()
    assert await received.take("msg_1", now)
    assert not await received.take("msg_1", now + KEPT_FOR)
    assert await received.take("msg_2", now + KEPT_FOR + timedelta(seconds=1))
    assert await received.take("msg_1", now + KEPT_FOR + timedelta(seconds=1))


def test_secrets_come_from_the_environment() -> None:
    both = {"TRAINING_WEBHOOK_SECRET": "new", "TRAINING_WEBHOOK_SECRET_PREVIOUS": "old"}
    assert webhook_secrets(both) == ("new", "old")
    assert webhook_secrets({"TRAINING_WEBHOOK_SECRET": " "}) == ()
    with pytest.raises(InvalidInput, match="base64"):
        webhook_secrets({"TRAINING_WEBHOOK_SECRET": "whsec_?"})
    assert "new" not in repr(ApiSettings(webhook_secrets=("new",)))
