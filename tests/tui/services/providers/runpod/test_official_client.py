"""Pods through the official package: its errors are ours, and two accounts never mix."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from shared.errors import (
    AmbiguousAnswer,
    ProviderError,
    ProviderRefused,
    ProviderUnauthorized,
    ProviderUnreachable,
)
from tests.tui.services.providers.runpod.scripted_api import (
    RESET,
    answer,
    problem,
    scripted_api,
)
from tui.services.providers.runpod.official_client import OfficialClient, RateLimited

CANARY = "rpa_CANARY"


async def _ask(what: str, client: OfficialClient) -> Any:
    match what:
        case "list":
            return await client.pods()
        case "look":
            return await client.pod("p/1")
        case _:
            return await client.terminate("p1")


async def test_the_package_speaks_rest_v2_with_the_key_of_the_account() -> None:
    pods = [{"id": "p1"}]
    async with scripted_api(answer(200, {"pods": pods}), answer(200, pods[0]), answer(204)) as api:
        client = OfficialClient(CANARY, api.url)
        assert await client.pods() == pods
        assert await client.pod("p/1") == pods[0]
        await client.terminate("p1")

    assert api.requests == ["GET /v2/pods", "GET /v2/pods/p%2F1", "DELETE /v2/pods/p1"]
    assert all(f"Authorization: Bearer {CANARY}" in head for head in api.heads)


async def test_a_pod_that_is_not_there_is_none_and_ends_without_complaint() -> None:
    async with scripted_api(problem(404, "pod not found")) as api:
        client = OfficialClient(CANARY, api.url)
        assert await client.pod("p1") is None
        await client.terminate("p1")


@pytest.mark.parametrize("what", ["list", "look", "end"])
@pytest.mark.parametrize(
    ("bad", "of_a_question", "of_an_end"),
    [
        (problem(401, "bad key"), ProviderUnauthorized, ProviderUnauthorized),
        (problem(403, "no"), ProviderUnauthorized, ProviderUnauthorized),
        (problem(409, "part of a cluster"), ProviderRefused, ProviderRefused),
        (problem(422, "bad id"), ProviderRefused, ProviderRefused),
        (problem(429, "slow", Retry_After="3"), RateLimited, RateLimited),
        (problem(500, "oops"), ProviderUnreachable, AmbiguousAnswer),
        (answer(502, "<html>"), ProviderUnreachable, AmbiguousAnswer),
        (RESET, ProviderUnreachable, AmbiguousAnswer),
        (answer(200, "<html>"), ProviderUnreachable, AmbiguousAnswer),
    ],
    ids=["401", "403", "409", "422", "429", "500", "502", "reset", "no JSON"],
)
async def test_every_error_of_the_package_is_one_of_ours(
    what: str,
    bad: bytes,
    of_a_question: type[ProviderError],
    of_an_end: type[ProviderError],
) -> None:
    async with scripted_api(bad) as api:
        with pytest.raises(of_an_end if what == "end" else of_a_question) as caught:
            await _ask(what, OfficialClient(CANARY, api.url))

    assert CANARY not in str(caught.value)
    assert len(api.requests) == 1


@pytest.mark.parametrize("body", [{}, [], {"pods": None}, {"pods": {"a": 1}}])
async def test_a_list_that_is_none_is_no_empty_account(body: object) -> None:
    async with scripted_api(answer(200, body)) as api:
        with pytest.raises(ProviderUnreachable):
            await OfficialClient(CANARY, api.url).pods()


@pytest.mark.parametrize("what", ["list", "look", "end"])
async def test_without_a_connection_nothing_was_sent(what: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(ProviderUnreachable, match="Nothing was sent"):
            await _ask(what, OfficialClient(CANARY, f"http://127.0.0.1:{port}"))


async def test_two_accounts_at_once_never_get_each_others_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://elsewhere.example")
    empty = answer(200, {"pods": []})
    async with scripted_api(empty) as one, scripted_api(empty) as two:
        clients = [OfficialClient("key-one", one.url), OfficialClient("key-two", two.url)]
        await asyncio.gather(*(client.pods() for client in clients * 10))
        await asyncio.gather(*(client.terminate("p1") for client in clients * 10))

    for api, key in ((one, "key-one"), (two, "key-two")):
        assert len(api.heads) == 20
        assert all(f"Bearer {key}\r\n" in head for head in api.heads)
    assert os.environ["RUNPOD_API_BASE_URL"] == "http://elsewhere.example"
