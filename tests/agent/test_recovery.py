from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from agent.launch import read_shim
from agent.process import (
    ProcessIdentity,
    boot_id,
    identify,
    is_alive,
    send_signal,
    send_signal_to_group,
)
from agent.trainer_events import read_entries
from shared import events
from shared.job_state import fold
from shared.lifecycle import JobStatus, StopReason

BY_AGENT = (
    "attempt_started",
    "trainer_started",
    "trainer_adopted",
    "cancel_requested",
    "attempt_ended",
)


def trainer_events_of(records, attempt):
    return [r.event for r in records if r.attempt == attempt and r.event.kind not in BY_AGENT]


def written_by_trainer(pod, attempt):
    entries = read_entries(pod.attempt(attempt).trainer_events_path, 0, ended=True)
    return [entry.event for entry in entries]


def assert_complete(pod, records):
    """No gap, no duplicate, and every event of every trainer exactly once."""
    for attempt in {record.attempt for record in records}:
        seqs = [record.seq for record in records if record.attempt == attempt]
        assert seqs == list(range(1, len(seqs) + 1))
        assert trainer_events_of(records, attempt) == written_by_trainer(pod, attempt)


async def test_a_new_agent_adopts_the_trainer_of_one_that_was_killed(pod, steps_of):
    agent = await pod.start_agent()
    async with pod.client() as client:
        body = {"job": pod.spec("steps=120 delay=0.05").model_dump(mode="json")}
        assert (await client.post("/training/start", json=body)).status_code == 202
    await pod.until_step(5)
    trainer = (await pod.trainer_of(1)).trainer
    agent.kill()
    agent.wait()
    assert is_alive(trainer)
    await pod.until_step(10)
    await pod.start_agent()
    records = await pod.watch("/training/jobs/job-one/events")
    assert_complete(pod, records)
    assert steps_of(records) == [(1, step) for step in range(1, 121)]
    adopted = [r.event.trainer_pid for r in records if r.event.kind == "trainer_adopted"]
    assert adopted == [trainer.pid]
    assert [record.trainer for record in pod.shims()] == [trainer]
    assert fold(records).status is JobStatus.COMPLETED


async def test_an_agent_killed_again_and_again_loses_and_doubles_nothing(pod, steps_of):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=60 delay=0.05"))
    await pod.until_step(1)
    await pod.close(supervisor)
    for step in (8, 16, 24, 32):
        agent = await pod.start_agent()
        await pod.until_step(step)
        agent.kill()
        agent.wait()
    supervisor = await pod.supervisor()
    records = await pod.until_final(supervisor)
    assert_complete(pod, records)
    assert steps_of(records) == [(1, step) for step in range(1, 61)]
    assert len(pod.shims()) == 1


async def test_a_killed_trainer_resumes_from_its_last_checkpoint(pod, steps_of):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=6 at=4 dies=kill"))
    records = await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.status, state.attempt) == (JobStatus.COMPLETED, 2)
    ends = [r.event for r in records if isinstance(r.event, events.AttemptEnded)]
    assert [(end.stop_reason, end.will_retry) for end in ends] == [
        (StopReason.TRAINER_KILLED, True),
        (StopReason.COMPLETED, False),
    ]
    assert ends[0].signal == signal.SIGKILL
    resumed = [r.event.step for r in records if isinstance(r.event, events.Resumed)]
    assert resumed == [2]
    assert steps_of(records) == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4), (2, 5), (2, 6)]
    assert_complete(pod, records)


async def test_a_trainer_killed_together_with_its_shim_is_lost_and_resumes(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("at=3 dies=hang"))
    await pod.until_step(2)
    record = await pod.trainer_of(1)
    send_signal(record.shim, signal.SIGKILL)
    send_signal(record.trainer, signal.SIGKILL)
    records = await pod.until_final(supervisor)
    first_end = next(r.event for r in records if isinstance(r.event, events.AttemptEnded))
    assert (first_end.stop_reason, first_end.will_retry) == (StopReason.TRAINER_LOST, True)
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED


async def test_a_trainer_that_outlives_its_shim_is_followed_to_the_end(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=10 delay=0.05"))
    await pod.until_step(2)
    send_signal((await pod.trainer_of(1)).shim, signal.SIGKILL)
    await pod.close(supervisor)
    supervisor = await pod.supervisor()
    records = await pod.until_final(supervisor)
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED
    assert len(pod.shims()) == 1
    assert_complete(pod, records)


async def test_restarts_are_exhausted_in_the_end(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("at=1 dies=kill until=99", max_restarts=1))
    await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.attempt, state.stop_reason) == (2, StopReason.RESTARTS_EXHAUSTED)
    assert "trainer_killed" in state.detail


async def test_a_trainer_stopped_by_somebody_else_resumes_where_it_saved(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=9 delay=0.1"))
    await pod.until_step(2)
    send_signal((await pod.trainer_of(1)).trainer, signal.SIGTERM)
    records = await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.status, state.attempt) == (JobStatus.COMPLETED, 2)
    first_end = next(r.event for r in records if isinstance(r.event, events.AttemptEnded))
    assert (first_end.stop_reason, first_end.exit_code) == (StopReason.TRAINER_KILLED, 75)


async def test_a_trainer_that_ends_while_no_agent_lives_is_judged_by_the_next(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=6 delay=0.05"))
    await pod.until_step(1)
    await pod.close(supervisor)
    await pod.until(lambda: pod.attempt(1).exit_path.exists())
    supervisor = await pod.supervisor()
    records = await pod.until_final(supervisor)
    assert_complete(pod, records)
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED


async def test_a_reused_pid_is_not_adopted(pod):
    await prepared_job(pod, "steps=2")
    ours = identify(os.getpid())
    record = {
        "shim_pid": ours.pid,
        "shim_start_time": ours.start_time - 1,
        "trainer_pid": ours.pid,
        "trainer_start_time": ours.start_time - 1,
        "boot_id": boot_id(),
    }
    pod.attempt(1).path.mkdir(parents=True)
    pod.attempt(1).shim_path.write_text(json.dumps(record))
    supervisor = await pod.supervisor()
    records = await pod.until_final(supervisor)
    kinds = [record.event.kind for record in records if record.attempt == 1]
    assert kinds == ["attempt_started", "trainer_started", "attempt_ended"]
    assert supervisor.job("job-one").state.attempt == 2


async def test_a_reused_pid_is_not_signalled(pod):
    """The pids of the records have come to a process that has nothing to do with the job."""
    await prepared_job(pod, "steps=2")
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        now = identify(bystander.pid)
        pod.attempt(1).path.mkdir(parents=True)
        for boot, start_time in ((boot_id(), now.start_time - 1), ("before", now.start_time)):
            record = {
                "shim_pid": now.pid,
                "shim_start_time": start_time,
                "trainer_pid": now.pid,
                "trainer_start_time": start_time,
                "boot_id": boot,
            }
            pod.attempt(1).shim_path.write_text(json.dumps(record))
            found = read_shim(pod.attempt(1))
            assert not is_alive(found.trainer)
            assert not send_signal(found.trainer, signal.SIGKILL)
            assert not send_signal_to_group(found.trainer, signal.SIGKILL)
        pod.root.job("job-one").cancel_path.write_text('{"reason": "enough"}')
        supervisor = await pod.supervisor(cancel_grace_s=0)
        await pod.until_final(supervisor)
        assert supervisor.job("job-one").state.status is JobStatus.CANCELLED
        assert bystander.poll() is None
        assert identify(bystander.pid) == now
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("written", ["job", "attempt directory", "attempt spec", "journal", "torn"])
async def test_a_crash_between_two_writes_of_the_start_is_recovered(pod, written):
    spec = await prepared_job(pod, "steps=2")
    attempt = pod.attempt(1)
    if written != "job":
        attempt.path.mkdir(parents=True)
    if written == "attempt spec":
        attempt.spec_path.with_name("attempt.json.partial").write_text('{"job": ')
    if written in ("journal", "torn"):
        line = events.JournalRecord(
            job_id=spec.job_id,
            attempt=1,
            seq=1,
            time=events.utc_now(),
            trainer_offset=0,
            event=events.AttemptStarted(journal_id="first", agent_version="0"),
        )
        text = events.encode(line) + "\n"
        attempt.journal_path.write_text(text if written == "journal" else text[:40])
    supervisor = await pod.supervisor()
    records = await pod.until_final(supervisor)
    assert_complete(pod, records)
    assert [r.event.kind for r in records].count("attempt_started") == 1
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED


async def test_a_crash_before_the_start_was_journalled_adopts_that_trainer(pod, steps_of):
    agent = await pod.start_agent()
    async with pod.client() as client:
        body = {"job": pod.spec("steps=20 delay=0.05").model_dump(mode="json")}
        await client.post("/training/start", json=body)
    await pod.until_step(3)
    agent.kill()
    agent.wait()
    journal = pod.attempt(1).journal_path
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    supervisor = await pod.supervisor()
    records = await pod.until_final(supervisor)
    assert_complete(pod, records)
    assert len(pod.shims()) == 1
    assert len(steps_of(records)) == 20


async def test_a_job_that_cannot_be_read_does_not_stop_the_others(pod):
    await prepared_job(pod, "steps=2")
    broken = pod.root.job("broken")
    broken.path.mkdir()
    broken.spec_path.write_text("{")
    supervisor = await pod.supervisor()
    await pod.until_final(supervisor)
    assert list(supervisor.jobs) == ["job-one"]


async def test_a_final_job_is_left_alone_by_the_next_agent(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=1"))
    before = await pod.until_final(supervisor)
    await pod.close(supervisor)
    supervisor = await pod.supervisor()
    assert await pod.until_final(supervisor) == before
    assert len(pod.shims()) == 1


async def prepared_job(pod, notes):
    """A job of which only job.json was written."""
    spec = pod.spec(notes)
    pod.root.job(spec.job_id).path.mkdir(parents=True)
    pod.root.job(spec.job_id).spec_path.write_text(spec.model_dump_json())
    return spec


def test_another_boot_is_another_process():
    ours = identify(os.getpid())
    assert is_alive(ours)
    assert not is_alive(ProcessIdentity(ours.pid, ours.start_time, "another boot"))
