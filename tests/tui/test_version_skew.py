"""An agent of another protocol version: the console says so and leaves its jobs alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.agent_protocol import PROTOCOL_VERSION
from shared.store.store import open_store
from tests.end_to_end.held_socket import HeldSocket
from tests.shared.store.journal import completed_job, job_spec
from tests.tui.fake_agent import FakeAgent
from tests.tui.local_console import Console

SENTENCE = (
    f"the agent 9.9.9 (pid 1) speaks protocol {PROTOCOL_VERSION + 1}, this console "
    f"{PROTOCOL_VERSION}: install the same version at both ends."
)


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


@pytest.fixture
async def newer_agent(console: Console) -> AsyncIterator[FakeAgent]:
    """It knows a job that is running, and would do whatever it is asked."""
    agent = FakeAgent(console.root)
    agent.health = {"protocol": PROTOCOL_VERSION + 1, "version": "9.9.9"}
    agent.records = completed_job()[:-1]
    async with open_store(console.home / "brightrun.db") as store:
        await store.add_job(job_spec(), "local")
    async with agent.running():
        yield agent


@pytest.fixture
def wire(console: Console, newer_agent: FakeAgent) -> Iterator[HeldSocket]:
    """What goes to the agent."""
    with HeldSocket(console.root) as held:
        yield held


def asked(wire: HeldSocket) -> set[bytes]:
    """The first lines; frames of a websocket have none."""
    lines = [request.partition(b"\r\n")[0] for request in wire.requests]
    return {line.removesuffix(b" HTTP/1.1") for line in lines if line.endswith(b" HTTP/1.1")}


async def run(console: Console, *arguments: str | Path) -> tuple[int, str]:
    """(exit code, stderr)"""
    code, _, err = await asyncio.to_thread(console.run, *arguments)
    return code, err


@pytest.mark.parametrize("command", ["cancel", "fetch", "logs"])
async def test_what_is_asked_of_a_job_is_refused_with_a_sentence(
    console: Console, wire: HeldSocket, command: str
) -> None:
    assert await run(console, command, "job-one") == (5, f"brightrun: {SENTENCE}\n")
    assert asked(wire) == {b"GET /health"}


async def test_a_job_is_written_down_but_not_handed_over_until_both_fit(
    console: Console, newer_agent: FakeAgent, wire: HeldSocket
) -> None:
    start = ("start", "--dataset", console.dataset, "--job-id", "new-one")
    code, err = await run(console, *start)
    assert (code, SENTENCE in err) == (5, True)
    assert asked(wire) == {b"GET /health"}
    newer_agent.health = {}
    assert (await run(console, *start))[0] == 0
    assert list(newer_agent.started) == ["new-one"]


async def test_records_of_another_version_are_not_taken_over(
    console: Console, wire: HeldSocket
) -> None:
    code, err = await run(console, "jobs")
    assert (code, SENTENCE in err) == (0, True)
    code, err = await run(console, "watch", "job-one")
    assert (code, SENTENCE in err) == (5, True)
    assert asked(wire) == {b"GET /health"}
