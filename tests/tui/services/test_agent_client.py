from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, unix_serve

from shared.errors import AgentRefused, AgentUnreachable, ProtocolError
from shared.events import JournalRecord, LogLine, encode
from shared.store.cursor import BEGINNING, Cursor
from tests.shared.store.journal import completed_job, job_spec, journal, metrics, started
from tests.tui.fake_agent import TOKEN, FakeAgent
from tui.services.agent_client import AgentAddress, AgentClient


def client_of(agent: FakeAgent, token: str = TOKEN) -> AgentClient:
    return AgentClient(AgentAddress(agent.socket_path, token))


async def received(
    agent: FakeAgent, after: Cursor = BEGINNING, patience_s: float = 5.0
) -> list[JournalRecord]:
    async with client_of(agent) as client:
        batches = client.events("job-one", after, patience_s=patience_s)
        return [record async for records in batches for record in records]


async def test_events_arrive_in_order_until_the_agent_has_sent_the_last(agent: FakeAgent) -> None:
    agent.records = completed_job(steps=5)
    async with agent.running():
        assert await received(agent) == agent.records
    assert agent.asked == [(0, 0)]


async def test_only_what_is_after_the_cursor_arrives(agent: FakeAgent) -> None:
    agent.records = completed_job(steps=5)
    async with agent.running():
        assert await received(agent, Cursor(1, 4)) == agent.records[4:]


async def test_a_connection_cut_in_mid_stream_leaves_no_gap_and_no_duplicate(
    agent: FakeAgent,
) -> None:
    agent.records = completed_job(steps=9)
    agent.cut_after = [3, 0, 5, 1]
    agent.repeat_last = True
    async with agent.running():
        assert await received(agent) == agent.records
    assert agent.asked == [(0, 0), (1, 3), (1, 3), (1, 7), (1, 7)]


async def test_another_agent_on_the_same_socket_goes_on_where_the_first_was_killed(
    agent: FakeAgent,
) -> None:
    everything = completed_job(steps=4)
    agent.records = everything[:5]
    seen: list[JournalRecord] = []
    async with (
        client_of(agent) as client,
        aclosing(client.events("job-one", patience_s=10)) as batches,
    ):
        async with agent.running():
            while len(seen) < 5:
                seen += await anext(batches)
        agent.records = everything
        async with agent.running():
            async for records in batches:
                seen += records
    assert seen == everything
    assert agent.asked == [(0, 0), (1, 5)]


async def test_what_came_in_while_a_batch_was_used_is_one_batch(tmp_path: Path) -> None:
    records = completed_job(steps=3)
    going_on, arrived = asyncio.Event(), asyncio.Event()

    async def serve(connection: ServerConnection) -> None:
        await connection.send(encode(records[0]))
        await going_on.wait()
        for record in records[1:]:
            await connection.send(encode(record))
        # Answered by the other end once it has all of them.
        await (await connection.ping())
        arrived.set()

    socket = tmp_path / "agent.sock"
    async with (
        unix_serve(serve, str(socket)),
        AgentClient(AgentAddress(socket, TOKEN)) as client,
        aclosing(client.events("job-one")) as batches,
    ):
        assert await anext(batches) == records[:1]
        going_on.set()
        await arrived.wait()
        assert [batch async for batch in batches] == [records[1:]]


async def test_nobody_there_is_unreachable_once_patience_is_at_its_end(agent: FakeAgent) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    with pytest.raises(AgentUnreachable, match=r"agent\.sock"):
        await received(agent, patience_s=0.3)
    assert loop.time() - before < 2


async def test_a_line_separator_in_a_text_does_not_split_its_record(agent: FakeAgent) -> None:
    agent.records = journal(started(), LogLine(message="one\u2028two\x85three"))
    async with (
        agent.running(),
        client_of(agent) as client,
        aclosing(client.events("job-one")) as batches,
    ):
        assert await anext(batches) == agent.records


async def test_a_gap_in_the_stream_is_a_protocol_error(agent: FakeAgent) -> None:
    agent.records = [record for record in completed_job() if record.seq != 3]
    async with agent.running():
        with pytest.raises(ProtocolError, match="is missing"):
            await received(agent)


async def test_an_unknown_job_is_refused_and_not_tried_again(agent: FakeAgent) -> None:
    async with agent.running(), client_of(agent) as client:
        with pytest.raises(AgentRefused) as refusal:
            await anext(client.events("job-one"))
        assert refusal.value.status_code == 404
        with pytest.raises(AgentRefused, match="no job job-one"):
            await client.job("job-one")


async def test_a_wrong_token_is_refused(agent: FakeAgent) -> None:
    async with agent.running(), client_of(agent, token="guess") as client:
        with pytest.raises(AgentRefused, match="wrong token"):
            await client.health()


async def test_another_version_of_the_protocol_is_named(agent: FakeAgent) -> None:
    agent.health = {"protocol": 9, "version": "9.0.0"}
    async with agent.running(), client_of(agent) as client:
        with pytest.raises(ProtocolError, match=r"9\.0\.0 .* speaks protocol 9"):
            await client.health()


async def test_an_answer_that_makes_no_sense_is_a_protocol_error(agent: FakeAgent) -> None:
    agent.health = {"pid": "many"}
    async with agent.running(), client_of(agent) as client:
        with pytest.raises(ProtocolError, match="Health: pid"):
            await client.health()


async def test_calls_without_an_agent_are_unreachable(agent: FakeAgent, tmp_path: Path) -> None:
    async with AgentClient(AgentAddress(tmp_path / "nothing.sock", TOKEN)) as client:
        for call in (
            client.health(),
            client.start(job_spec()),
            client.jobs(),
            client.job("job-one"),
            client.cancel("job-one", ""),
            client.checkpoint("job-one"),
            client.logs("job-one"),
            client.artifacts("job-one"),
        ):
            with pytest.raises(AgentUnreachable):
                await call


def test_the_token_is_not_in_the_addresss_repr(tmp_path: Path) -> None:
    assert "secret" not in repr(AgentAddress(tmp_path, "secret"))


async def test_the_job_id_cannot_reach_another_path(agent: FakeAgent) -> None:
    agent.records = journal(started(), metrics(1, 1.0))
    async with agent.running(), client_of(agent) as client:
        with pytest.raises(AgentRefused):
            await client.job("../../health")
