from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from shared.agent_protocol import GpuFacts, MachineFacts
from shared.errors import InvalidInput
from shared.events import utc_now
from shared.lifecycle import JobStatus
from shared.store.store import Store
from tests.shared.store.journal import job_spec
from tests.tui.fake_agent import TOKEN, FakeAgent
from tui.services.hosts.local import LocalHost
from tui.services.machines import (
    MachineState,
    RunningJob,
    known_machines,
    look_at,
    look_at_all,
)
from tui.services.session import open_session

MACHINE = {
    "gpus": [{"index": 0, "name": "NVIDIA H100 PCIe", "memory_total_mib": 81559, "soon": 1}],
    "disk_free_bytes": 5,
    "disk_total_bytes": 9,
    "cpus": 8,
}


@dataclass(frozen=True, slots=True)
class NamedHost(LocalHost):
    """An agent on this machine under the name of another host."""

    known_as: str = "ssh:pod"

    @property
    def name(self) -> str:
        return self.known_as


@contextlib.asynccontextmanager
async def silent_agent(root: Path) -> AsyncIterator[None]:
    """Takes connections and never says a word."""
    root.mkdir(parents=True)
    (root / "agent.token").write_text(TOKEN)
    (root / "agent.json").write_text(f'{{"socket": "{root}/agent.sock"}}')
    ended = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_unix_server(serve, f"{root}/agent.sock"):
        yield
        ended.set()


async def test_a_machine_that_answers_is_shown_and_remembered(
    agent: FakeAgent, store: Store
) -> None:
    await store.add_job(job_spec("job-one", name="Mine"), "local")
    agent.machine = MACHINE
    agent.health = {"running": ["job-one", "of-another-console"], "version": "0.2.0"}
    async with agent.running():
        sight = await look_at(LocalHost(agent.root), store)

    assert sight.state is MachineState.REACHABLE
    assert sight.running == (RunningJob("job-one", "Mine"), RunningJob("of-another-console", ""))
    [known] = await store.hosts()
    assert sight.known == known
    assert (known.agent_version, known.root) == ("0.2.0", str(agent.root))
    assert known.facts == MachineFacts(
        gpus=(GpuFacts(index=0, name="NVIDIA H100 PCIe", memory_total_mib=81559),),
        disk_free_bytes=5,
        disk_total_bytes=9,
        cpus=8,
    )


@pytest.mark.parametrize("machine", [None, {"disk_free_bytes": "plenty"}])
async def test_an_agent_that_cannot_tell_its_machine_is_reached_all_the_same(
    agent: FakeAgent, store: Store, machine: dict[str, object] | None
) -> None:
    agent.machine = machine
    async with agent.running():
        sight = await look_at(LocalHost(agent.root), store)

    assert (sight.state, sight.known.facts) == (MachineState.REACHABLE, None)


async def test_a_machine_where_nothing_ever_ran_has_no_agent_yet_and_gets_none(
    home: Path, store: Store
) -> None:
    sight = await look_at(LocalHost(home / "agent"), store)

    assert (sight.state, sight.known.last_contact_at) == (MachineState.NO_AGENT, None)
    assert await store.hosts() == []
    assert not (home / "agent").exists()


async def test_a_machine_that_is_gone_is_shown_as_it_was_with_the_first_moment_without_it(
    agent: FakeAgent, store: Store
) -> None:
    await store.add_job(job_spec("job-one", name="Mine"), "ssh:pod")
    await store.add_job(job_spec("job-two"), "local")
    await store.add_job(job_spec("ended"), "ssh:pod")
    await store.settle_job("ended", JobStatus.CANCELLED, "")
    host = NamedHost(agent.root)
    agent.machine = MACHINE
    async with agent.running():
        await look_at(host, store)
    first = await look_at(host, store)
    second = await look_at(host, store)

    assert second.state is MachineState.UNREACHABLE
    assert "agent.sock" in second.reason
    assert second.known.facts is not None
    assert second.known.unreachable_since == first.known.unreachable_since
    assert utc_now() - (second.known.unreachable_since or utc_now()) < timedelta(minutes=1)
    assert second.running == (RunningJob("job-one", "Mine"),)


async def test_a_silent_machine_costs_its_time_out_and_keeps_no_other_waiting(
    tmp_path: Path, agent: FakeAgent, store: Store
) -> None:
    loop = asyncio.get_running_loop()
    async with silent_agent(tmp_path / "silent"), agent.running():
        began = loop.time()
        hosts = [NamedHost(tmp_path / "silent", f"ssh:{number}") for number in range(4)]
        looks = [look_at(host, store, timeout_s=0.5) for host in hosts]
        *silent, answering = await asyncio.gather(
            *looks, look_at(LocalHost(agent.root), store, timeout_s=30)
        )
        assert loop.time() - began < 20

    assert answering.state is MachineState.REACHABLE
    assert {sight.state for sight in silent} == {MachineState.UNREACHABLE}
    assert {sight.reason for sight in silent} == {"no answer within 0.5 s"}


async def test_a_name_that_was_mistyped_once_is_not_kept(
    tmp_path: Path, store: Store, agent: FakeAgent
) -> None:
    agent.health = {"pid": "many"}
    async with agent.running():
        sight = await look_at(NamedHost(agent.root, "ssh:typo"), store)

    assert sight.state is MachineState.UNREACHABLE
    assert await store.hosts() == []


async def test_known_are_this_machine_those_with_jobs_and_those_once_reached(
    agent: FakeAgent, store: Store
) -> None:
    assert await known_machines(store) == ["local"]
    await store.add_job(job_spec("job-one"), "ssh:zoo")
    async with agent.running():
        await look_at(NamedHost(agent.root, "ssh:ant"), store)
    assert await known_machines(store) == ["local", "ssh:ant", "ssh:zoo"]


async def test_a_session_looks_at_what_it_knows_or_at_what_it_is_told(agent: FakeAgent) -> None:
    async with agent.running(), open_session() as session:
        assert [sight.name for sight in await look_at_all(session)] == ["local"]
        with pytest.raises(InvalidInput, match="mars"):
            await look_at_all(session, ["mars"])


async def test_hostile_words_of_an_agent_are_cleaned_before_they_become_a_reason(
    agent: FakeAgent, store: Store
) -> None:
    agent.health = {"protocol": 9, "version": "9\x1b]0;evil\x07\u202e.0"}
    await store.add_job(job_spec(), "local")
    async with agent.running():
        sight = await look_at(LocalHost(agent.root), store)

    assert "the agent 9.0 " in sight.reason
    assert not set(sight.reason) & {"\x1b", "\x07", "\u202e"}
