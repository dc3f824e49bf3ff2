"""Real trainers that hang in real ways, and what becomes of their jobs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from agent.hang import describe_processes, kill, write_stacks
from agent.process import family_of, identify, is_alive, send_signal
from agent.watchdog import HangLimits
from shared import events
from shared.lifecycle import JobStatus, StopReason

QUICK = HangLimits(factor=2, floor_s=0.8, unmeasured_s=6)


def ends_of(records):
    return [r.event for r in records if isinstance(r.event, events.AttemptEnded)]


@pytest.mark.parametrize(
    ("dies", "state", "stacks"),
    [
        ("stopped", "stopped", ["_perhaps_die"]),
        ("gil", "sleeping", ["_perhaps_die"]),
        ("deadlock", "sleeping", ["hold_and_wait", "hold_and_wait"]),
    ],
)
async def test_a_hang_leaves_its_stacks_and_the_job_goes_on_from_its_checkpoint(
    pod, steps_of, dies, state, stacks
):
    supervisor = await pod.supervisor(hang_limits=QUICK)
    await supervisor.start(pod.spec(f"steps=6 at=4 dies={dies}"))
    records = await pod.until_final(supervisor)
    first, last = ends_of(records)
    assert (first.stop_reason, first.will_retry) == (StopReason.TRAINER_HUNG, True)
    assert first.signal == signal.SIGKILL
    assert re.search(rf"said nothing for \d.* \({state}\)", first.detail)
    assert last.stop_reason is StopReason.COMPLETED
    resumed = [r.event.step for r in records if isinstance(r.event, events.Resumed)]
    assert resumed == [2]
    assert steps_of(records) == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4), (2, 5), (2, 6)]
    log = pod.attempt(1).log_path.read_text()
    assert (
        re.findall(r"most recent call first.*?in (_perhaps_die|hold_and_wait)", log, re.S) == stacks
    )
    complaints = [r.event.message for r in records if isinstance(r.event, events.LogLine)]
    assert len(complaints) == 1
    assert first.detail in complaints[0]


async def test_a_hang_at_the_same_place_is_tried_again_once(pod):
    supervisor = await pod.supervisor(hang_limits=QUICK)
    await supervisor.start(pod.spec("steps=3 at=2 dies=stopped until=9"))
    records = await pod.until_final(supervisor)
    assert [(end.stop_reason, end.will_retry) for end in ends_of(records)] == [
        (StopReason.TRAINER_HUNG, True),
        (StopReason.TRAINER_HUNG, False),
    ]
    state = supervisor.job("job-one").state
    assert state.status is JobStatus.FAILED
    assert state.detail.startswith("Started again without coming any further. The trainer said")


async def test_an_evaluation_that_takes_long_is_no_hang(pod):
    supervisor = await pod.supervisor(hang_limits=HangLimits(2, 0.5, unmeasured_s=30))
    await supervisor.start(pod.spec("steps=3 at=2 dies=hang says=evaluating"))
    await pod.until_step(1)
    started = time.monotonic()
    await pod.until(lambda: time.monotonic() - started > 1.5)
    assert is_alive((await pod.trainer_of(1)).trainer)
    assert supervisor.job("job-one").state.attempt == 1
    await supervisor.cancel("job-one", "")
    await pod.until_final(supervisor)


async def test_an_agent_that_was_held_up_does_not_blame_the_trainer(pod):
    """It was stopped, or starved, or its container was paused: the silence is its own."""
    supervisor = await pod.supervisor(hang_limits=HangLimits(2, 1.5, unmeasured_s=30))
    await supervisor.start(pod.spec("steps=3 at=2 dies=hang"))
    await pod.until(lambda: supervisor.job("job-one").state.step == 1)
    time.sleep(2)  # Nothing of the agent runs meanwhile: it shares this loop.
    copied = supervisor.job("job-one").state.seq
    for _ in range(5):
        await asyncio.sleep(0.02)
    assert supervisor.job("job-one").state.seq == copied
    assert not pod.attempt(1).hang_path.exists()
    await pod.until_final(supervisor)
    assert [attempt.hang_path.exists() for attempt in pod.attempts()] == [True, False]


async def test_a_hang_that_an_agent_found_is_acted_upon_by_the_next(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=3 at=2 dies=stopped"))
    await pod.until_step(1)
    await pod.close(supervisor)
    pod.attempt(1).hang_path.write_text('{"detail": "found by an agent that was killed then"}')
    supervisor = await pod.supervisor()
    first, last = ends_of(await pod.until_final(supervisor))
    assert first.stop_reason is StopReason.TRAINER_HUNG
    assert first.detail == "found by an agent that was killed then"
    assert last.stop_reason is StopReason.COMPLETED


async def test_the_clock_begins_anew_with_a_new_agent_that_knows_the_usual_step(pod):
    supervisor = await pod.supervisor()
    await supervisor.start(pod.spec("steps=3 at=3 dies=stopped"))
    await pod.until_step(2)
    await pod.close(supervisor)
    supervisor = await pod.supervisor(hang_limits=HangLimits(2, 0.8, unmeasured_s=600))
    first, last = ends_of(await pod.until_final(supervisor))
    assert "usual step of 0.1 s" in first.detail
    assert last.stop_reason is StopReason.COMPLETED


async def test_every_process_of_a_trainer_that_hangs_is_ended(pod):
    supervisor = await pod.supervisor(hang_limits=QUICK)
    await supervisor.start(pod.spec("steps=3 at=2 dies=stopped child=session"))
    await pod.until_step(1)
    child = identify(int((pod.attempt(1).path / "child.pid").read_text()))
    trainer = (await pod.trainer_of(1)).trainer
    assert child in family_of(trainer)
    assert os.getsid(child.pid) != os.getsid(trainer.pid)
    await pod.until(lambda: pod.attempt(1).exit_path.exists())
    assert not is_alive(child)
    await pod.until_final(supervisor)


def test_a_process_that_does_not_listen_is_not_ended_by_the_question(tmp_path):
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        trainer = identify(sleeper.pid)
        write_stacks(trainer, tmp_path / "trainer.log", 5)
        assert is_alive(trainer)
        assert describe_processes(trainer) == f"{sleeper.pid} (sleeping)"
        kill(trainer)
        assert sleeper.wait(10) == -signal.SIGKILL
    finally:
        sleeper.kill()
        sleeper.wait()
    assert family_of(trainer) == []
    assert describe_processes(trainer) == ""
    assert not send_signal(trainer, signal.SIGKILL)


def test_the_stacks_are_not_waited_for_for_ever(tmp_path):
    silent = "import signal, time; signal.signal(signal.SIGUSR2, lambda *_: None); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", silent], start_new_session=True)
    try:
        began = time.monotonic()
        write_stacks(identify(process.pid), tmp_path / "trainer.log", 0.2)
        assert time.monotonic() - began < 5
    finally:
        process.kill()
        process.wait()
