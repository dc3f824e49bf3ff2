"""A 429 on the package's calls: it drops Retry-After, so the next one goes another way."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.errors import ProviderUnreachable
from tests.tui.services.providers.runpod.scripted_api import (
    ScriptedApi,
    answer,
    problem,
    scripted_api,
)
from tui.services.providers.runpod.provider import RunpodProvider

POD: dict[str, Any] = {"id": "p1", "name": "ours-1", "status": "RUNNING"}


@asynccontextmanager
async def _provider(*script: bytes) -> AsyncGenerator[tuple[RunpodProvider, ScriptedApi]]:
    async with scripted_api(*script) as api:
        provider = RunpodProvider("key", api.url)
        try:
            yield provider, api
        finally:
            await provider.close()


def _slow_down(wait_s: int) -> bytes:
    return problem(429, "rate limit exceeded", Retry_After=str(wait_s))


async def test_a_list_that_was_refused_for_now_waits_as_it_is_told() -> None:
    began = time.monotonic()
    script = (_slow_down(1), _slow_down(1), answer(200, {"pods": [POD]}))
    async with _provider(*script) as (provider, api):
        assert [each.name for each in await provider.machines()] == ["ours-1"]

    assert time.monotonic() - began >= 1
    assert api.requests == ["GET /v2/pods"] * 3


async def test_a_long_wait_is_told_to_the_caller() -> None:
    async with _provider(_slow_down(600)) as (provider, api):
        with pytest.raises(ProviderUnreachable) as caught:
            await provider.machines()

    assert caught.value.retry_after_s == 600
    assert len(api.requests) == 2


async def test_a_look_at_one_machine_survives_the_limit() -> None:
    async with _provider(_slow_down(0), answer(200, POD)) as (provider, _):
        machine = await provider.machine("p1")

    assert machine is not None
    assert machine.name == "ours-1"


async def test_a_machine_that_is_gone_is_gone_after_the_limit_too() -> None:
    async with _provider(_slow_down(0), problem(404, "gone")) as (provider, _):
        assert await provider.machine("p1") is None


@pytest.mark.parametrize("last", [answer(204), problem(404, "gone")], ids=["204", "404"])
async def test_an_end_survives_the_limit(last: bytes) -> None:
    async with _provider(_slow_down(0), _slow_down(0), last) as (provider, api):
        await provider.end("p1")

    assert api.requests == ["DELETE /v2/pods/p1"] * 3
