from __future__ import annotations

from dataclasses import replace

import pytest

from agent.launch import ExitRecord
from agent.verdict import Evidence, decide, end_of_attempt
from shared.events import TrainerFinished
from shared.lifecycle import STOP_REASONS, StopReason

NOTHING = Evidence(finished=None, exit=None, is_dry_run=False, is_cancelled=False)


def exited(code):
    return ExitRecord(exit_code=code, signal=None, oom_kills=0)


def killed(number=9, oom_kills=0):
    return ExitRecord(exit_code=None, signal=number, oom_kills=oom_kills)


def said(reason):
    return TrainerFinished(stop_reason=reason)


COMPLETED = replace(NOTHING, finished=said("completed"), exit=exited(0), verified=True)
CANCELLED = replace(NOTHING, is_cancelled=True)

CASES = {
    "completed with its proof": (COMPLETED, "completed"),
    "completed, and its shim was killed": (replace(COMPLETED, exit=None), "completed"),
    "completed just before the cancel": (replace(COMPLETED, is_cancelled=True), "completed"),
    "completed without proof": (replace(COMPLETED, verified=False), "trainer_crashed"),
    "completed, files damaged": (replace(COMPLETED, adapter_fault="damaged"), "adapter_rejected"),
    "completed, then a crash": (replace(COMPLETED, exit=exited(1)), "trainer_crashed"),
    "completed, then killed": (replace(COMPLETED, exit=killed()), "trainer_killed"),
    "dry run": (
        replace(COMPLETED, finished=said("dry_run_passed"), is_dry_run=True, verified=False),
        "dry_run_passed",
    ),
    "a dry run that nobody asked for": (
        replace(COMPLETED, finished=said("dry_run_passed"), verified=False),
        "trainer_crashed",
    ),
    "its own reason": (
        replace(NOTHING, finished=said("out_of_memory"), exit=exited(3)),
        "out_of_memory",
    ),
    "cancelled and saved": (
        replace(CANCELLED, finished=said("trainer_killed"), exit=exited(75)),
        "cancelled",
    ),
    "cancelled and killed": (replace(CANCELLED, exit=killed()), "cancelled"),
    "cancelled before it ran": (replace(CANCELLED, exit=exited(None)), "cancelled"),
    "cancelled and lost": (CANCELLED, "cancelled"),
    "stopped by somebody else": (
        replace(NOTHING, finished=said("trainer_killed"), exit=exited(75)),
        "trainer_killed",
    ),
    "says cancelled, nobody asked": (
        replace(NOTHING, finished=said("cancelled"), exit=exited(0)),
        "trainer_killed",
    ),
    "stopped without a word": (replace(NOTHING, exit=exited(143)), "trainer_killed"),
    "killed": (replace(NOTHING, exit=killed()), "trainer_killed"),
    "killed for want of memory": (replace(NOTHING, exit=killed(oom_kills=1)), "host_out_of_memory"),
    "killed, counter unknown": (replace(NOTHING, exit=killed(oom_kills=None)), "trainer_killed"),
    "segmentation fault": (replace(NOTHING, exit=killed(11, oom_kills=1)), "trainer_killed"),
    "unnamed signal": (replace(NOTHING, exit=killed(60)), "trainer_killed"),
    "lost": (NOTHING, "trainer_lost"),
    "sealed, never started": (replace(NOTHING, exit=exited(None)), "trainer_lost"),
    "exit 0 without a word": (replace(NOTHING, exit=exited(0)), "trainer_crashed"),
    "crashed": (replace(NOTHING, exit=exited(1)), "trainer_crashed"),
    "dataset refused": (
        replace(NOTHING, exit=exited(None), dataset_fault="changed"),
        "dataset_changed",
    ),
}


@pytest.mark.parametrize(("evidence", "reason"), CASES.values(), ids=CASES)
def test_the_stop_reason_follows_from_the_evidence(evidence, reason):
    assert decide(evidence).stop_reason == reason


@pytest.mark.parametrize("reason", StopReason)
def test_every_failure_that_the_trainer_reports_is_believed(reason):
    row = STOP_REASONS[reason]
    if row.status == "failed" and not row.retry:
        evidence = replace(NOTHING, finished=said(reason), exit=exited(3))
        assert decide(evidence).stop_reason is reason


def test_interruptions_are_retried_until_the_restarts_are_used_up():
    verdict = decide(replace(NOTHING, exit=killed()))
    ends = [end_of_attempt(verdict, killed(), attempt, max_restarts=2) for attempt in (1, 2, 3)]
    assert [end.will_retry for end in ends] == [True, True, False]
    assert ends[2].stop_reason is StopReason.RESTARTS_EXHAUSTED
    assert "killed by SIGKILL" in ends[2].detail


def test_a_failure_is_not_retried():
    end = end_of_attempt(decide(replace(NOTHING, exit=exited(1))), exited(1), 1, max_restarts=20)
    assert (end.will_retry, end.exit_code) == (False, 1)
