"""Requests over httpx: what is asked again, and what is in doubt."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from pydantic import BaseModel

from shared.errors import (
    AmbiguousAnswer,
    NoCapacity,
    ProviderError,
    ProviderRefused,
    ProviderUnauthorized,
    ProviderUnreachable,
)
from tests.tui.services.providers.runpod.scripted_api import (
    RESET,
    SILENCE,
    ScriptedApi,
    answer,
    problem,
    scripted_api,
)
from tui.services.providers.runpod.answers import Request
from tui.services.providers.runpod.transport import LONGEST_OBEYED_WAIT_S, Transport

CANARY = "rpa_CANARY"
QUESTION = Request("GET", "/v2/things")
ORDER = Request("POST", "/v2/pods", orders_pod=True)
GOOD = answer(200, {"name": "x"})


class Thing(BaseModel):
    name: str


@asynccontextmanager
async def _account(*script: bytes) -> AsyncGenerator[tuple[Transport, ScriptedApi]]:
    async with scripted_api(*script) as api:
        transport = Transport(CANARY, api.url, answer_timeout_s=0.5)
        try:
            yield transport, api
        finally:
            await transport.close()


def _closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def test_the_key_goes_into_the_header_and_nowhere_else() -> None:
    async with _account(GOOD) as (transport, api):
        assert (await transport.get(QUESTION, Thing, {"a": 1})).name == "x"

    assert api.requests == ["GET /v2/things?a=1"]
    assert f"authorization: bearer {CANARY}".lower() in api.heads[0].lower()
    assert api.heads[0].count(CANARY) == 1


@pytest.mark.parametrize(
    "bad",
    [RESET, SILENCE, problem(500, "oops"), answer(502, "<html>"), answer(200, "<html>")],
    ids=["reset", "silence", "500", "502", "no JSON"],
)
async def test_a_question_is_asked_again(bad: bytes) -> None:
    async with _account(bad, GOOD) as (transport, api):
        assert (await transport.get(QUESTION, Thing)).name == "x"

    assert len(api.requests) == 2


@pytest.mark.parametrize(
    "bad",
    [RESET, problem(503, "oops"), answer(200, "<html>"), answer(200, {"other": 1})],
    ids=["reset", "503", "no JSON", "other fields"],
)
async def test_a_question_that_finds_no_answer_is_given_up(bad: bytes) -> None:
    async with _account(bad) as (transport, api):
        with pytest.raises(ProviderUnreachable, match="GET /v2/things"):
            await transport.get(QUESTION, Thing)

    assert len(api.requests) == 3


@pytest.mark.parametrize(
    "bad",
    [
        RESET,
        SILENCE,
        problem(500, "oops"),
        answer(504, ""),
        answer(201, "<html>"),
        answer(201, {"id": 1}),
    ],
    ids=["reset", "silence", "500", "504", "no JSON", "other fields"],
)
async def test_an_order_is_sent_once_and_is_in_doubt_after_a_bad_answer(bad: bytes) -> None:
    async with _account(bad, GOOD) as (transport, api):
        with pytest.raises(AmbiguousAnswer):
            await transport.create(ORDER, {"name": "x"}, Thing)

    assert len(api.requests) == 1


async def test_an_order_without_a_connection_was_never_sent() -> None:
    transport = Transport(CANARY, f"http://127.0.0.1:{_closed_port()}")
    with pytest.raises(ProviderUnreachable, match="Nothing was sent"):
        await transport.create(ORDER, {"name": "x"}, Thing)
    await transport.close()


@pytest.mark.parametrize("request_", [QUESTION, ORDER], ids=str)
async def test_too_many_requests_are_repeated_after_the_wait_that_is_asked_for(
    request_: Request,
) -> None:
    slow_down = problem(429, "rate limit", Retry_After="1")
    began = time.monotonic()
    async with _account(slow_down, GOOD) as (transport, api):
        if request_ is QUESTION:
            await transport.get(request_, Thing)
        else:
            await transport.create(request_, {}, Thing)

    assert time.monotonic() - began >= 1
    assert len(api.requests) == 2


@pytest.mark.parametrize("request_", [QUESTION, ORDER], ids=str)
async def test_a_long_wait_is_left_to_the_caller(request_: Request) -> None:
    wait_s = LONGEST_OBEYED_WAIT_S + 1
    async with _account(problem(429, "slow", Retry_After=f"{wait_s:.0f}")) as (transport, api):
        with pytest.raises(ProviderUnreachable) as caught:
            if request_ is QUESTION:
                await transport.get(request_, Thing)
            else:
                await transport.create(request_, {}, Thing)

    assert caught.value.retry_after_s == wait_s
    assert len(api.requests) == 1


async def test_an_order_that_is_refused_for_now_again_and_again_is_given_up() -> None:
    async with _account(problem(429, "slow", Retry_After="0")) as (transport, api):
        with pytest.raises(ProviderUnreachable):
            await transport.create(ORDER, {}, Thing)

    assert len(api.requests) == 3


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (problem(401, "bad key"), ProviderUnauthorized, "bad key"),
        (problem(422, "failed", "$: 'bogus'"), ProviderRefused, "failed \\$: 'bogus'"),
        (problem(400, "no instances"), NoCapacity, "no instances"),
        (answer(400, [1, 2]), NoCapacity, "400"),
    ],
    ids=["401", "422", "400", "400 without words"],
)
async def test_a_refusal_is_final_and_told_in_its_own_words(
    bad: bytes, kind: type[ProviderError], words: str
) -> None:
    async with _account(bad) as (transport, api):
        with pytest.raises(kind, match=words) as caught:
            await transport.create(ORDER, {}, Thing)

    assert len(api.requests) == 1
    assert CANARY not in str(caught.value)
