"""A later machine takes over: on one root, with one kernel, as two pods on one volume."""

from __future__ import annotations

import json
import os
import signal

import pytest

from agent.fence import Fence, MachineMark, own_mark, read_mark
from agent.process import is_alive
from agent.serve import hold_lock
from shared import events
from shared.errors import AgentAlreadyRunning, MachineReplaced
from shared.lifecycle import JobStatus, StopReason


def test_a_root_without_a_mark_is_nobody_elses(tmp_path):
    assert own_mark(tmp_path) is None
    Fence(tmp_path, None).check()


def test_the_mark_must_be_this_machines(pod):
    run_directory = pod.rent(2)
    assert own_mark(pod.root.path) == MachineMark(2, run_directory)
    (run_directory / "pod.json").write_text('{"rental": 1}')
    with pytest.raises(MachineReplaced, match="belongs to machine 2"):
        own_mark(pod.root.path)
    (run_directory / "pod.json").unlink()
    with pytest.raises(MachineReplaced):
        own_mark(pod.root.path)


def test_only_a_later_machine_closes_the_fence_and_it_stays_closed(pod):
    pod.rent(2)
    fence = Fence(pod.root.path, own_mark(pod.root.path))
    mark = pod.root.path / "machine.json"
    for harmless in ('{"rental": 1, "run_directory": "/x"}', "{", ""):
        mark.write_text(harmless)
        fence.check()
    mark.unlink()
    fence.check()
    pod.rent(3)
    with pytest.raises(MachineReplaced, match="machine 3 of the job has taken over from machine 2"):
        fence.check()
    mark.unlink()
    with pytest.raises(MachineReplaced):
        fence.check()


async def test_the_trainers_of_a_replaced_machine_die_unsaved_and_nothing_is_written(pod, limits):
    pod.rent(1)
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=1000 delay=0.05"), limits=limits())
    await pod.until_step(3)
    shim = await pod.trainer_of(1)
    pod.rent(2)
    await pod.until(lambda: not is_alive(shim.trainer))
    await pod.until(supervisor.replaced.is_set)
    assert not is_alive(shim.shim)
    assert not pod.attempt(1).exit_path.exists()
    written = pod.attempt(1).journal_path.read_bytes()
    with pytest.raises(MachineReplaced):
        await supervisor.cancel("job-one", "")
    assert not pod.root.job("job-one").cancel_path.exists()
    assert b"attempt_ended" not in written
    assert pod.attempt(1).journal_path.read_bytes() == written


async def test_a_new_machine_ends_the_old_attempt_and_waits_to_be_asked(pod, limits, steps_of):
    pod.rent(1)
    first = await pod.supervisor()
    spec = pod.spec("at=4 dies=hang until=1", max_restarts=0)
    await first.start(spec, limits=limits())
    await pod.until_step(3)
    shim = await pod.trainer_of(1)
    await pod.close(first)
    os.kill(shim.shim.pid, signal.SIGKILL)
    os.killpg(shim.trainer.pid, signal.SIGKILL)

    pod.rent(2)
    second = await pod.supervisor()
    job = second.job("job-one")
    await pod.until(lambda: job.last_event(1, events.AttemptEnded) is not None)
    ended = job.last_event(1, events.AttemptEnded)
    assert (ended.stop_reason, ended.will_retry) == (StopReason.TRAINER_LOST, True)
    assert ended.detail == "Machine 1 was lost, and the trainer with it."
    await pod.until(lambda: second.is_waiting(job))
    assert not pod.attempt(2).journal_path.exists()

    assert not await second.start(spec, limits=limits(2))
    records = await pod.until_final(second)
    assert job.state.status is JobStatus.COMPLETED
    assert steps_of(records) == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4)]


async def test_where_the_hardware_failed_the_job_waits_for_another_machine(pod, limits, steps_of):
    pod.rent(1)
    first = await pod.supervisor()
    spec = pod.spec("at=3 dies=ecc", max_restarts=0)
    await first.start(spec, limits=limits())
    job = first.job("job-one")
    await pod.until(lambda: first.needs_another_machine(job))
    # As often as it is asked: here it never goes on.
    assert not await first.start(spec, limits=limits())
    assert first.needs_another_machine(job)
    assert job.last_event(1, events.AttemptEnded).stop_reason is StopReason.HARDWARE_FAULT
    await pod.close(first)
    assert not pod.attempt(2).path.exists()

    pod.rent(2)
    second = await pod.supervisor()
    assert not await second.start(spec, limits=limits(2))
    records = await pod.until_final(second)
    assert steps_of(records) == [(1, 1), (1, 2), (2, 3), (2, 4)]


async def test_a_job_that_waits_for_its_machine_can_be_cancelled(pod, limits):
    pod.rent(1)
    first = await pod.supervisor()
    await first.start(pod.spec("at=3 dies=hang"), limits=limits())
    await pod.until_step(2)
    shim = await pod.trainer_of(1)
    await pod.close(first)
    os.killpg(shim.trainer.pid, signal.SIGKILL)
    pod.rent(2)
    second = await pod.supervisor()
    await second.cancel("job-one", "")
    await pod.until_final(second)
    assert second.job("job-one").state.status is JobStatus.CANCELLED
    assert len(pod.shims()) == 1


async def test_only_attempts_of_this_machine_count_against_the_restarts(pod, limits):
    pod.rent(1)
    spec = pod.spec("at=3 dies=kill until=9", max_restarts=1)
    first = await pod.supervisor()
    await first.start(spec, limits=limits())
    await pod.until_final(first)
    state = first.job("job-one").state
    assert (state.attempt, state.stop_reason) == (2, StopReason.RESTARTS_EXHAUSTED)


async def test_a_frozen_machine_that_wakes_touches_nothing_of_its_successor(pod, limits, pod_api):
    pod.rent(1, pod_api.url)
    old = await pod.start_agent()
    spec = pod.spec("steps=40 delay=0.1")
    body = {"job": spec.model_dump(mode="json"), "limits": limits(1).model_dump()}
    async with pod.client() as client:
        (await client.post("/training/start", json=body)).raise_for_status()
    await pod.until_step(3)
    shim = await pod.trainer_of(1)
    frozen = [old.pid, shim.shim.pid, shim.trainer.pid]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        pod.rent(2, pod_api.url)
        # The old agent still holds its lock, and an agent.json of its own lies there.
        await pod.start_agent()
        first_journal = pod.attempt(1).journal_path
        await pod.until(lambda: b"attempt_ended" in first_journal.read_bytes())
        closed = first_journal.read_bytes()
        body["limits"] = limits(2).model_dump()
        async with pod.client() as client:
            (await client.post("/training/start", json=body)).raise_for_status()
        await pod.until_step(5, attempt=2)
        address = pod.root.address_path.read_bytes()
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    await pod.until(lambda: old.poll() is not None)
    assert old.returncode == MachineReplaced.exit_code
    assert not is_alive(shim.trainer)
    assert pod_api.asked == ["DELETE /v2/pods/pod1"]
    records = await pod.watch("/training/jobs/job-one/events")
    assert pod.root.address_path.read_bytes() == address
    assert first_journal.read_bytes() == closed
    assert [(r.attempt, r.seq) for r in records if r.attempt == 2] == [
        (2, seq) for seq in range(1, records[-1].seq + 1)
    ]
    assert records[-1].event.stop_reason is StopReason.COMPLETED


async def test_two_agents_of_one_machine_are_kept_apart_by_its_own_lock(pod):
    run_directory = pod.rent(1)
    agent = await pod.start_agent()
    assert (run_directory / "agent.lock").read_text().strip() == str(agent.pid)
    assert not pod.root.lock_path.exists()
    with pytest.raises(AgentAlreadyRunning), hold_lock(pod.root, read_mark(pod.root.path)):
        pass


async def test_the_address_says_whose_it_is(pod):
    pod.rent(4)
    await pod.start_agent()
    assert json.loads(pod.root.address_path.read_bytes())["rental"] == 4
