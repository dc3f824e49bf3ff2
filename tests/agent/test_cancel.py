from __future__ import annotations

import json
import signal

from agent.process import is_alive, send_signal
from shared import events
from shared.lifecycle import JobStatus, StopReason


def end_of(records):
    assert isinstance(records[-1].event, events.AttemptEnded)
    return records[-1].event


async def test_a_cancelled_trainer_saves_and_ends(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=100 delay=0.05"))
    await pod.until_step(3)
    assert await supervisor.cancel("job-one", "no longer wanted")
    assert pod.root.job("job-one").cancel_path.exists()
    records = await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.status, state.stop_reason) == (JobStatus.CANCELLED, StopReason.CANCELLED)
    assert end_of(records).exit_code == 75
    requests = [r.event.reason for r in records if isinstance(r.event, events.CancelRequested)]
    assert requests == ["no longer wanted"]
    assert state.last_checkpoint_step == state.step


async def test_a_trainer_that_ignores_sigterm_is_killed_after_the_grace(pod):
    supervisor = await pod.supervisor(cancel_grace_s=0.3)
    await supervisor.start(pod.spec("steps=1000 delay=0.05 stubborn=1"))
    await pod.until_step(2)
    await supervisor.cancel("job-one", "")
    records = await pod.until_final(supervisor)
    assert end_of(records).stop_reason is StopReason.CANCELLED
    assert end_of(records).signal == signal.SIGKILL


async def test_a_job_cancelled_before_its_trainer_starts_never_starts_one(pod):
    spec = pod.spec()
    job = pod.root.job(spec.job_id)
    job.path.mkdir(parents=True)
    job.spec_path.write_text(spec.model_dump_json())
    job.cancel_path.write_text(json.dumps({"reason": "too late for second thoughts"}))
    supervisor = await pod.supervisor()
    records = await pod.until_final(supervisor)
    kinds = [record.event.kind for record in records]
    assert kinds == ["attempt_started", "cancel_requested", "attempt_ended"]
    assert supervisor.job("job-one").state.status is JobStatus.CANCELLED
    assert pod.shims() == []


async def test_a_cancel_right_after_the_start_leaves_no_trainer_behind(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=1000 delay=0.05"))
    await supervisor.cancel("job-one", "")
    await pod.until_final(supervisor)
    assert supervisor.job("job-one").state.status is JobStatus.CANCELLED
    assert not any(is_alive(record.trainer) for record in pod.shims())


async def test_cancelling_after_the_end_changes_nothing(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=1"))
    await pod.until_final(supervisor)
    before = supervisor.job("job-one").state
    assert not await supervisor.cancel("job-one", "too late")
    assert supervisor.job("job-one").state == before
    assert not pod.root.job("job-one").cancel_path.exists()


async def test_cancelling_twice_asks_once(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=1000 delay=0.05 stubborn=1"))
    await pod.until_step(1)
    assert await supervisor.cancel("job-one", "first")
    assert await supervisor.cancel("job-one", "second")
    send_signal((await pod.trainer_of(1)).trainer, signal.SIGKILL)
    records = await pod.until_final(supervisor)
    requests = [r.event.reason for r in records if isinstance(r.event, events.CancelRequested)]
    assert requests == ["first"]


async def test_a_cancel_outlives_the_agent_that_took_it(pod):
    supervisor = await pod.supervisor(cancel_grace_s=60)
    await supervisor.start(pod.spec("steps=1000 delay=0.05 stubborn=1"))
    await pod.until_step(1)
    await supervisor.cancel("job-one", "for good")
    await pod.close(supervisor)
    supervisor = await pod.supervisor(cancel_grace_s=0.2)
    records = await pod.until_final(supervisor)
    assert end_of(records).stop_reason is StopReason.CANCELLED
    assert [r.event.kind for r in records].count("cancel_requested") == 1


async def test_a_killed_trainer_is_not_restarted_once_the_job_is_cancelled(pod):
    supervisor = await pod.supervisor(cancel_grace_s=60)
    await supervisor.start(pod.spec("steps=1000 delay=0.05 stubborn=1"))
    await pod.until_step(1)
    await supervisor.cancel("job-one", "")
    send_signal((await pod.trainer_of(1)).shim, signal.SIGKILL)
    send_signal((await pod.trainer_of(1)).trainer, signal.SIGKILL)
    await pod.until_final(supervisor)
    state = supervisor.job("job-one").state
    assert (state.attempt, state.status) == (1, JobStatus.CANCELLED)
