"""Logs of a machine over streams that drop, stall and end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest

from shared.errors import ProviderRefused, ProviderUnauthorized, ProviderUnreachable
from tests.tui.services.providers.runpod.scripted_api import (
    RESET,
    ScriptedApi,
    answer,
    problem,
    scripted_api,
)
from tui.services.providers.runpod.provider import MOST_FAILED_OPENINGS, RunpodProvider


def _stream(*lines: str, more: bool = False) -> bytes:
    """A stream that ends after these lines; with `more` in the middle of an answer."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    events = ""
    for line in lines:
        event_id, _, text = line.partition(" ")
        data = json.dumps({"ts": event_id, "source": "container", "line": text})
        events += f"id: {event_id}\ndata: {data}\n\n"
    length = f"Content-Length: {len(events.encode()) + 100}\r\n" if more else ""
    return f"{head}{length}Connection: close\r\n\r\n{events}".encode()


@asynccontextmanager
async def _provider(*script: bytes) -> AsyncGenerator[tuple[RunpodProvider, ScriptedApi]]:
    async with scripted_api(*script) as api:
        provider = RunpodProvider("key", api.url, reconnect_pause_s=0.01, quiet_log_s=0.2)
        try:
            yield provider, api
        finally:
            await provider.close()


async def _all_lines(provider: RunpodProvider) -> list[str]:
    """Until the log says that the machine is gone."""
    lines = []
    with pytest.raises(ProviderRefused):
        async with aclosing(provider.log_lines("p1")) as log:
            async for line in log:
                lines.append(line)
    return lines


@pytest.mark.parametrize("broken", [True, False])
async def test_a_log_goes_on_across_a_dropped_stream_and_repeats_nothing(broken: bool) -> None:
    async with _provider(
        _stream("1 a", "2 b", more=broken),
        RESET,
        problem(503, "later"),
        _stream("2 b", "3 c", more=broken),
        _stream("4 d"),
        problem(404, "gone"),
    ) as (provider, api):
        assert await _all_lines(provider) == ["a", "b", "c", "d"]

    assert api.requests[0] == "GET /v2/pods/p1/logs?source=container&tail=5000"
    resumed_at = [
        line.split(": ")[1]
        for head in api.heads
        for line in head.splitlines()
        if line.lower().startswith("last-event-id")
    ]
    assert resumed_at == ["2", "2", "2", "3", "4"]


async def test_a_log_that_breaks_again_and_again_is_not_given_up_while_it_can_be_opened() -> None:
    script = []
    for number in range(MOST_FAILED_OPENINGS + 1):
        script += [RESET, _stream(f"{number} line {number}", more=True)]
        script += [_stream(more=True)] * 2
    async with _provider(*script, problem(404, "gone")) as (provider, _):
        lines = await _all_lines(provider)

    assert lines == [f"line {number}" for number in range(MOST_FAILED_OPENINGS + 1)]


async def test_a_log_that_cannot_be_opened_is_given_up() -> None:
    async with _provider(problem(500, "oops")) as (provider, api):
        with pytest.raises(ProviderUnreachable):
            async for _ in provider.log_lines("p1"):
                raise AssertionError("nothing was printed")

    assert len(api.requests) == MOST_FAILED_OPENINGS


async def test_a_log_that_is_not_ours_to_read_says_so_at_once() -> None:
    async with _provider(problem(401, "bad key")) as (provider, api):
        with pytest.raises(ProviderUnauthorized):
            async for _ in provider.log_lines("p1"):
                raise AssertionError("nothing was printed")

    assert len(api.requests) == 1


async def test_a_reader_that_has_enough_leaves_no_stream_behind() -> None:
    async with (
        _provider(_stream("1 a", "2 b", more=True)) as (provider, api),
        aclosing(provider.log_lines("p1")) as log,
    ):
        assert await anext(log) == "a"

    assert len(api.requests) == 1


async def test_the_system_log_ends_with_the_silence_after_its_last_line() -> None:
    async with _provider(_stream("1 pulling image", "2 started")) as (provider, api):
        assert await provider.system_log("p1") == ["pulling image", "started"]

    assert api.requests == ["GET /v2/pods/p1/logs?source=system&tail=100"]


async def test_a_system_log_that_cannot_be_read_is_no_empty_one() -> None:
    async with _provider(answer(404, "")) as (provider, _):
        with pytest.raises(ProviderRefused):
            await provider.system_log("p1")
