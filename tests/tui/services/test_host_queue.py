"""Turns on a host of the user's own, with a real agent; only the trainer is a stand-in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from shared.events import AttemptStarted
from shared.job_spec import DatasetReference, JobSpec
from shared.lifecycle import Activity, JobStatus
from shared.store.stored import StoredJob
from tests.tui.local_console import STAND_IN, Console
from tui.config import Config
from tui.services import jobs, queue
from tui.services.dataset_check import CheckSettings, check_training_file
from tui.services.host_queue import HostQueueSettings, giving_turns
from tui.services.session import Session, open_session

QUICK = HostQueueSettings(poll_s=0.1, claim_s=2.0, longest_pause_s=0.5)
"""The rules of the real one, with shorter waits."""


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.root.mkdir()
    command = json.dumps({"command": [sys.executable, "-P", str(STAND_IN)]})
    (made.root / "trainer.json").write_text(command)
    yield made
    if (made.root / "agent.json").exists():
        made.end_detached_agent()


@pytest.fixture
def config(console: Console) -> Config:
    return Config(console.home, console.root)


@pytest.fixture
async def session(config: Config) -> AsyncIterator[Session]:
    async with open_session(config) as opened:
        yield opened


async def queued(
    session: Session, dataset: Path, job_id: str, notes: str = "steps=2", host: str = "local"
) -> None:
    reference = DatasetReference.of(dataset)
    spec = JobSpec(job_id=job_id, name=job_id, notes=notes, dataset=reference)
    report = check_training_file(dataset, CheckSettings("tiny"), None).report
    await queue.queue_job(session, dataset, spec, report, host=host)


async def until(what: Callable[[], Awaitable[bool]], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not await what():
            await asyncio.sleep(0.05)


async def known(session: Session, job_id: str) -> StoredJob:
    """The job, as fresh as can be."""
    return (await session.mirror.catch_up(await session.store.get_job(job_id))).job


async def all_completed(session: Session, *job_ids: str) -> None:
    async def is_so() -> bool:
        found = [await known(session, job_id) for job_id in job_ids]
        assert not any(job.status in (JobStatus.FAILED, JobStatus.CANCELLED) for job in found)
        return all(job.status is JobStatus.COMPLETED for job in found)

    await until(is_so)


async def activity(session: Session, job_id: str) -> Activity | None:
    return (await session.store.get_job(job_id)).state.activity


def times_of(job: StoredJob) -> tuple[datetime, datetime]:
    assert job.state.started_at is not None and job.state.ended_at is not None
    return job.state.started_at, job.state.ended_at


async def test_two_loops_at_once_start_each_job_once_and_one_after_the_other(
    console: Console, config: Config, session: Session
) -> None:
    names = [f"job-{number}" for number in range(4)]
    for name in names:
        await queued(session, console.dataset, name, "steps=3 delay=0.1")
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(open_session(config))
        for each in (session, other):
            await stack.enter_async_context(giving_turns(each, settings=QUICK))

        await until(lambda: is_at_work(session, "job-0"))
        await other.store.queue.move("job-3", 1)
        await all_completed(session, *names)

    found = [await known(session, name) for name in ("job-0", "job-3", "job-1", "job-2")]
    spans = [times_of(job) for job in found]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    for name in names:
        assert len(await session.store.events_of(name, AttemptStarted)) == 1


async def is_at_work(session: Session, job_id: str) -> bool:
    return not (await session.store.get_job(job_id)).waits_for_turn


async def test_a_host_that_cannot_be_reached_keeps_only_its_own_jobs_waiting(
    console: Console, session: Session
) -> None:
    away = "ssh:nobody@127.0.0.1:1"
    await queued(session, console.dataset, "job-away", host=away)
    await queued(session, console.dataset, "job-here")
    async with giving_turns(session, settings=QUICK):
        await all_completed(session, "job-here")

        async def says_why() -> bool:
            job = await session.store.get_job("job-away")
            is_back = job.state.activity is Activity.WAITING_FOR_TURN
            return is_back and "127.0.0.1" in job.state.detail

        await until(says_why)
    job = await session.store.get_job("job-away")
    assert not job.status.is_final
    assert "--job-id" not in job.state.detail


async def test_a_job_that_waits_is_cancelled_at_once_without_its_host(
    console: Console, session: Session
) -> None:
    await queued(session, console.dataset, "job-off", host="ssh:nobody@127.0.0.1:1")
    job = await session.store.get_job("job-off")

    assert (await session.mirror.catch_up(job)).unreachable is None
    cancelled = await jobs.cancel_job(session, job, "")

    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.error_message == "cancelled before it was started"
    assert not (console.root / "agent.json").exists()


async def test_a_file_that_has_changed_meanwhile_fails_its_job_and_no_other(
    console: Console, session: Session, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.json"
    changed.write_text(console.dataset.read_text())
    await queued(session, changed, "job-changed")
    changed.write_text(console.dataset.read_text() + " ")
    console.dataset.write_text(json.dumps(json.loads(console.dataset.read_text()), indent=1))
    await queued(session, console.dataset, "job-next")

    async with giving_turns(session, settings=QUICK):
        await all_completed(session, "job-next")

    job = await session.store.get_job("job-changed")
    assert job.status is JobStatus.FAILED
    assert "changed" in str(job.error_message)


async def test_the_next_loop_goes_on_where_one_was_killed_in_the_middle_of_handing_over(
    console: Console, config: Config, session: Session
) -> None:
    await queued(session, console.dataset, "job-one")
    content = console.dataset.read_bytes()
    console.dataset.unlink()
    os.mkfifo(console.dataset)  # Whoever reads the training file hangs.
    server = subprocess.Popen(
        [sys.executable, "-c", "from tui.cli import main; main()", "serve"],
        env=console.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await until(lambda: is_handed_over_now(session, "job-one"))
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    console.dataset.unlink()
    console.dataset.write_bytes(content)
    assert (await session.store.get_job("job-one")).waits_for_turn

    async with giving_turns(session, settings=QUICK):
        await all_completed(session, "job-one")

    assert len(await session.store.events_of("job-one", AttemptStarted)) == 1


async def is_handed_over_now(session: Session, job_id: str) -> bool:
    state = (await session.store.get_job(job_id)).state
    return state.activity is Activity.CONNECTING


async def test_a_job_cancelled_while_it_is_handed_over_does_not_run(
    console: Console, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queued(session, console.dataset, "job-one", "steps=1000 delay=0.05")
    await session.hosts.get().ensure_agent()
    may_go_on = asyncio.Event()
    real = jobs.find_training_file

    async def held_up(session: Session, spec: JobSpec) -> Path:
        await may_go_on.wait()
        return await real(session, spec)

    monkeypatch.setattr(jobs, "find_training_file", held_up)
    async with giving_turns(session, settings=QUICK):
        await until(lambda: is_handed_over_now(session, "job-one"))
        job = await session.store.get_job("job-one")
        assert (await jobs.cancel_job(session, job, "")).status is JobStatus.CANCELLED
        may_go_on.set()

        async def is_stopped() -> bool:
            async with session.hosts.get().client() as client:
                known_there = {job.job.job_id: job.state for job in await client.jobs()}
            state = known_there.get("job-one")
            return state is not None and state.status is JobStatus.CANCELLED

        await until(is_stopped)


async def test_a_job_that_its_host_never_got_keeps_nobody_waiting_for_long(
    console: Console, session: Session
) -> None:
    await session.hosts.get().ensure_agent()
    lost = JobSpec(job_id="job-lost", name="lost", dataset=DatasetReference.of(console.dataset))
    await session.store.add_job(lost, "local")
    await queued(session, console.dataset, "job-next")

    async with giving_turns(session, settings=QUICK):
        await asyncio.sleep(1)  # Several rounds: it may be on its way, so its place is taken.
        assert await activity(session, "job-next") is Activity.WAITING_FOR_TURN
    patient = HostQueueSettings(poll_s=0.1, claim_s=2.0, on_its_way_s=0.5)
    async with giving_turns(session, settings=patient):
        await all_completed(session, "job-next")


async def test_a_killed_agent_is_started_again_so_that_the_line_moves_on(
    console: Console, session: Session
) -> None:
    await queued(session, console.dataset, "job-one", "steps=20 delay=0.1")
    await queued(session, console.dataset, "job-two")
    async with giving_turns(session, settings=QUICK):
        await until(lambda: has_begun(session, "job-one"))
        agent_pid = console.agent_pid()
        assert agent_pid is not None
        os.kill(agent_pid, signal.SIGKILL)
        # The store's word: only the loop itself is to notice that the first one has ended.
        await until(lambda: is_at_work(session, "job-two"))
        await all_completed(session, "job-one", "job-two")
    first, second = [await session.store.get_job(name) for name in ("job-one", "job-two")]
    assert times_of(first)[1] <= times_of(second)[0] <= datetime.now(UTC)


async def has_begun(session: Session, job_id: str) -> bool:
    return (await known(session, job_id)).state.step > 0


async def test_a_watcher_of_a_waiting_job_sees_its_turn_and_its_end(
    console: Console, session: Session
) -> None:
    await queued(session, console.dataset, "job-one", "steps=3")
    seen: list[tuple[Activity | None, int]] = []

    async def watch() -> None:
        async for sight in session.mirror.watch("job-one"):
            assert not hasattr(sight, "reason"), sight
            seen.append((sight.job.state.activity, sight.job.state.step))

    watching = asyncio.create_task(watch())
    async with giving_turns(session, settings=QUICK):
        async with asyncio.timeout(30):
            await watching

    assert seen[0][0] in (Activity.CONNECTING, None, Activity.STARTING_TRAINER)
    assert seen[-1] == (None, 3)
    assert (await session.store.get_job("job-one")).status is JobStatus.COMPLETED


async def test_starting_a_queued_job_outright_takes_it_out_of_the_line(
    console: Console, session: Session
) -> None:
    await queued(session, console.dataset, "job-one")
    job = await session.store.get_job("job-one")
    report = check_training_file(console.dataset, CheckSettings("tiny"), None).report

    await jobs.start_job(session, console.dataset, job.spec, report)

    assert await session.store.queue.waiting() == []
    await all_completed(session, "job-one")
