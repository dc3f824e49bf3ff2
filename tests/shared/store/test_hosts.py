from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from shared.agent_protocol import GpuFacts, Health, MachineFacts
from shared.events import utc_now
from shared.job_state import JobState
from shared.store import rows
from shared.store.schema import training_jobs
from shared.store.store import Store, open_store
from shared.store.stored import StoredHost, StoredJob
from tests.shared.store.earlier_version import database_at
from tests.shared.store.journal import job_spec

HEALTH = Health(
    version="0.1.0",
    protocol=1,
    agent_id="11111111-1111-1111-1111-111111111111",
    pid=7,
    started_at=datetime(2026, 11, 22, 15, 0, tzinfo=UTC),
    running=("job-one",),
    root="/root/agent",
)
FACTS = MachineFacts(
    gpus=(GpuFacts(index=0, name="NVIDIA H100 PCIe", memory_total_mib=81559, driver="570.1"),),
    disk_free_bytes=10,
    disk_total_bytes=20,
    cpus=4,
)


async def only_host(store: Store) -> StoredHost:
    [host] = await store.hosts()
    return host


async def test_a_contact_is_remembered_with_agent_and_machine(store: Store) -> None:
    before = utc_now()

    await store.record_contact("ssh:pod", HEALTH, FACTS)

    host = await only_host(store)
    assert host.last_contact_at is not None
    assert before <= host.last_contact_at <= utc_now()
    assert host == StoredHost(
        name="ssh:pod",
        agent_version="0.1.0",
        agent_id=HEALTH.agent_id,
        agent_started_at=HEALTH.started_at,
        root="/root/agent",
        facts=FACTS,
        last_contact_at=host.last_contact_at,
    )


async def test_a_host_that_never_answered_is_remembered_with_the_reason(store: Store) -> None:
    await store.record_no_contact("ssh:pod", "refused")

    host = await only_host(store)
    assert (host.last_error, host.last_contact_at, host.facts) == ("refused", None, None)
    assert host.unreachable_since == host.last_error_at is not None


async def test_a_lost_host_keeps_what_was_known_and_the_first_moment_without_it(
    store: Store,
) -> None:
    await store.record_contact("ssh:pod", HEALTH, FACTS)
    reached = await only_host(store)
    await store.record_no_contact("ssh:pod", "reset")
    first = await only_host(store)
    await store.record_no_contact("ssh:pod", "time-out")
    second = await only_host(store)

    assert (second.facts, second.agent_version) == (FACTS, "0.1.0")
    assert second.last_contact_at == reached.last_contact_at
    assert second.last_error == "time-out"
    assert second.unreachable_since == first.unreachable_since is not None
    assert first.last_error_at is not None
    assert second.last_error_at is not None
    assert second.last_error_at > first.last_error_at


async def test_a_host_that_answers_again_is_not_unreachable_any_more(store: Store) -> None:
    await store.record_no_contact("ssh:pod", "reset")
    await store.record_contact("ssh:pod", HEALTH, FACTS)
    reached = await only_host(store)
    assert (reached.unreachable_since, reached.last_error) == (None, "reset")

    await store.record_no_contact("ssh:pod", "again")
    lost = await only_host(store)
    assert lost.unreachable_since == lost.last_error_at


async def test_an_agent_that_tells_no_facts_leaves_those_that_are_known(store: Store) -> None:
    await store.record_contact("local", HEALTH, FACTS)
    await store.record_contact("local", HEALTH.model_copy(update={"version": "0.0.9"}), None)

    host = await only_host(store)
    assert (host.facts, host.agent_version) == (FACTS, "0.0.9")


async def test_hosts_come_by_name(store: Store) -> None:
    for name in ("ssh:b", "local", "ssh:a"):
        await store.record_no_contact(name, "")
    assert [host.name for host in await store.hosts()] == ["local", "ssh:a", "ssh:b"]


async def test_the_hosts_of_jobs_are_named_once_each(store: Store) -> None:
    assert await store.job_hosts() == set()
    for number, host in enumerate(("local", "ssh:pod", "ssh:pod")):
        await store.add_job(job_spec(f"job-{number}"), host)
    assert await store.job_hosts() == {"local", "ssh:pod"}


async def test_facts_of_another_version_are_unknown_and_no_error(
    store: Store, database: Path
) -> None:
    await store.record_contact("local", HEALTH, FACTS)
    with sqlite3.connect(database) as raw:
        raw.execute("""UPDATE hosts SET facts = '{"gpus": 8}'""")
    raw.close()

    assert (await only_host(store)).facts is None


async def test_a_database_from_before_hosts_keeps_its_jobs(database: Path) -> None:
    with database_at(database, "0001") as connection:
        now = utc_now()
        job = StoredJob(job_spec(), JobState(), "local", None, None, now, now)
        later = {"queue_place", "waits_for_turn", "sweep_id", "created_by", "training_file_id"}
        row = {name: value for name, value in rows.job_row(job).items() if name not in later}
        connection.execute(insert(training_jobs).values(row))

    async with open_store(database) as store:
        assert [job.job_id for job in await store.list_jobs()] == ["job-one"]
        assert await store.hosts() == []
        await store.record_contact("local", HEALTH, FACTS)
        assert (await only_host(store)).facts == FACTS
