from __future__ import annotations

from dataclasses import replace

import pytest

from agent.launch import ExitRecord
from agent.verdict import EarlierAttempt, Evidence, Verdict, decide, end_of_attempt
from shared.events import TrainerFinished
from shared.lifecycle import STOP_REASONS, StopReason

NOTHING = Evidence(finished=None, exit=None, is_dry_run=False, is_cancelled=False)


def exited(code):
    return ExitRecord(exit_code=code, signal=None, oom_kills=0)


def killed(number=9, oom_kills=0):
    return ExitRecord(exit_code=None, signal=number, oom_kills=oom_kills)


def said(reason):
    return TrainerFinished(stop_reason=reason)


def kernel(*lines, kernel_pid=4711, **how):
    """An exit of which the kernel's messages are known."""
    record = killed() if "exit_code" not in how else exited(how["exit_code"])
    changes = {"kernel_messages": lines, "kernel_pid": kernel_pid, **how}
    return record.model_copy(update=changes)


TRAINER_WAS_KILLED = (
    "Memory cgroup out of memory: Killed process 4711 (python) total-vm:217320kB, "
    "anon-rss:61184kB, file-rss:5840kB, shmem-rss:0kB, UID:0 pgtables:184kB oom_score_adj:0"
)
ANOTHER_WAS_KILLED = TRAINER_WAS_KILLED.replace("4711 (python)", "815 (mysqld)")
LOST_GPU = "NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', GPU has fallen off the bus."
ILLEGAL_ADDRESS = "NVRM: Xid (PCI:0000:01:00): 31, pid=4711, MMU Fault"
ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
HUNG = replace(NOTHING, exit=killed(), hang="The trainer said nothing for an hour.")


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
    "done, and another machine has the adapter": (
        replace(NOTHING, finished=said("replicas_finished"), exit=exited(0), is_further_node=True),
        "replicas_finished",
    ),
    "done, and no other machine is known": (
        replace(NOTHING, finished=said("replicas_finished"), exit=exited(0)),
        "trainer_crashed",
    ),
    "a replica killed for want of memory, the first stopped": (
        replace(
            NOTHING, finished=said("trainer_killed"), exit=killed(oom_kills=1), has_replicas=True
        ),
        "host_out_of_memory",
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
    "segmentation fault": (replace(NOTHING, exit=killed(11, oom_kills=1)), "trainer_crashed"),
    "abort": (replace(NOTHING, exit=killed(6)), "trainer_crashed"),
    "a wrapper whose trainer was killed": (replace(NOTHING, exit=exited(137)), "trainer_killed"),
    "the kernel names the trainer": (
        replace(NOTHING, exit=kernel(TRAINER_WAS_KILLED, oom_kills=None)),
        "host_out_of_memory",
    ),
    "the kernel names another of the cgroup": (
        replace(NOTHING, exit=kernel(ANOTHER_WAS_KILLED, oom_kills=1)),
        "trainer_killed",
    ),
    "the kernel names another, of replicas perhaps": (
        replace(NOTHING, exit=kernel(ANOTHER_WAS_KILLED, oom_kills=1), has_replicas=True),
        "host_out_of_memory",
    ),
    "the kernel counts pids in another way": (
        replace(NOTHING, exit=kernel(ANOTHER_WAS_KILLED, kernel_pid=None, oom_kills=1)),
        "host_out_of_memory",
    ),
    "the kernel names nobody": (replace(NOTHING, exit=kernel(oom_kills=0)), "trainer_killed"),
    "a process of the trainer was killed for want of memory, and the trainer crashed": (
        replace(NOTHING, exit=kernel(ANOTHER_WAS_KILLED, exit_code=1, signal=None, oom_kills=1)),
        "host_out_of_memory",
    ),
    "the same, by the counter alone": (
        replace(NOTHING, exit=exited(1).model_copy(update={"oom_kills": 1})),
        "host_out_of_memory",
    ),
    "the trainer says another reason meanwhile": (
        replace(NOTHING, finished=said("disk_full"), exit=kernel(ANOTHER_WAS_KILLED, exit_code=3)),
        "disk_full",
    ),
    "hung": (HUNG, "trainer_hung"),
    "hung, and its shim was killed": (replace(HUNG, exit=None), "trainer_hung"),
    "hung, and somebody in the cgroup was killed for want of memory": (
        replace(HUNG, exit=killed(oom_kills=1)),
        "trainer_hung",
    ),
    "hung, then crashed by itself": (replace(HUNG, exit=exited(1)), "trainer_crashed"),
    "hung, then cancelled": (replace(HUNG, is_cancelled=True), "cancelled"),
    "hung at its exit, with all its work done": (
        replace(HUNG, finished=said("completed"), verified=True),
        "completed",
    ),
    "hung on a GPU that was lost": (replace(HUNG, exit=kernel(LOST_GPU)), "hardware_fault"),
    "crashed on a GPU that was lost": (
        replace(NOTHING, exit=kernel(LOST_GPU, exit_code=1, signal=None)),
        "hardware_fault",
    ),
    "crashed by its own illegal address": (
        replace(NOTHING, exit=kernel(ILLEGAL_ADDRESS, exit_code=1, signal=None)),
        "trainer_crashed",
    ),
    "crashed on failed memory of the GPU": (
        replace(NOTHING, exit=exited(1), log_tail=ECC),
        "hardware_fault",
    ),
    "killed while another GPU was lost": (
        replace(NOTHING, exit=kernel(LOST_GPU)),
        "trainer_killed",
    ),
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


def course(reason, *steps):
    return [EarlierAttempt(step, StopReason(reason)) for step in steps]


def test_interruptions_are_retried_until_the_restarts_are_used_up():
    verdict = decide(replace(NOTHING, exit=killed()))
    ends = [
        end_of_attempt(verdict, killed(), course("trainer_killed", *[0] * before), 0, 2)
        for before in (0, 1, 2)
    ]
    assert [end.will_retry for end in ends] == [True, True, False]
    assert ends[2].stop_reason is StopReason.RESTARTS_EXHAUSTED
    assert "killed by SIGKILL" in ends[2].detail


RETRIED = {
    "a crash before the first step": ("trainer_crashed", [], 0, False),
    "a crash after a step": ("trainer_crashed", [], 1, True),
    "a crash at the same step": ("trainer_crashed", course("trainer_crashed", 7), 7, False),
    "a crash a step later": ("trainer_crashed", course("trainer_crashed", 7), 8, True),
    "a crash behind a kill": ("trainer_crashed", course("trainer_killed", 7), 7, False),
    "a first hang": ("trainer_hung", [], 0, True),
    "a hang at the same step": ("trainer_hung", course("trainer_hung", 7), 7, False),
    "a hang while loading, twice": ("trainer_hung", course("trainer_hung", 0), 0, False),
    "a hang while loading, behind a kill": ("trainer_hung", course("trainer_killed", 7), 0, True),
    "a hang a step later": ("trainer_hung", course("trainer_hung", 7), 8, True),
    "a GPU that fails at once on the new start": (
        "hardware_fault",
        course("hardware_fault", 7),
        0,
        False,
    ),
    "too many hangs": ("trainer_hung", course("trainer_hung", 1, 2, 3), 4, False),
    "a full disk": ("disk_full", [], 7, False),
}


@pytest.mark.parametrize(("reason", "before", "step", "will_retry"), RETRIED.values(), ids=RETRIED)
def test_what_fails_at_the_same_place_is_not_tried_for_ever(reason, before, step, will_retry):
    end = end_of_attempt(Verdict(StopReason(reason), "detail"), killed(), before, step, 3)
    assert (end.stop_reason, end.will_retry) == (StopReason(reason), will_retry)
    assert "detail" in end.detail


def test_only_attempts_of_the_same_machine_count_against_the_restarts():
    verdict = decide(replace(NOTHING, exit=killed()))
    before = [replace(attempt, rental=1) for attempt in course("trainer_killed", 1, 2)]
    ends = [end_of_attempt(verdict, killed(), before, 3, 1, rental=rental) for rental in (1, 2)]
    assert [end.will_retry for end in ends] == [False, True]


def test_failed_hardware_of_a_rented_machine_is_always_followed_by_another_machine():
    verdict, before = Verdict(StopReason.HARDWARE_FAULT, "detail"), course("hardware_fault", 7)
    ends = [end_of_attempt(verdict, killed(), before, 7, 0, rental=rental) for rental in (0, 2)]
    assert [end.will_retry for end in ends] == [False, True]


def test_with_its_machine_lost_an_attempt_is_an_interruption_however_many_there_were():
    verdict = Verdict(StopReason.TRAINER_LOST, "detail")
    end = end_of_attempt(verdict, None, course("trainer_killed", 1, 2), 3, 0, has_lost_machine=True)
    assert (end.stop_reason, end.will_retry) == (StopReason.TRAINER_LOST, True)


LIMIT = Verdict(StopReason.BUDGET_EXHAUSTED, "all spent")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exit": exited(75), "finished": said("trainer_killed")}, "budget_exhausted"),
        ({"exit": killed()}, "budget_exhausted"),
        ({"exit": killed(), "is_cancelled": True}, "cancelled"),
        ({"exit": exited(0), "finished": said("completed"), "verified": True}, "completed"),
        ({"exit": exited(3), "finished": said("disk_full")}, "disk_full"),
    ],
)
def test_a_limit_is_the_reason_unless_the_job_was_done_or_had_failed(changes, reason):
    assert decide(replace(NOTHING, limit=LIMIT, **changes)).stop_reason == reason


def test_the_exit_code_is_kept():
    verdict = decide(replace(NOTHING, exit=exited(1)))
    assert end_of_attempt(verdict, exited(1), [], 0, max_restarts=20).exit_code == 1


def test_the_words_of_the_kernel_reach_the_user():
    assert LOST_GPU in decide(CASES["crashed on a GPU that was lost"][0]).detail
    assert ECC in decide(CASES["crashed on failed memory of the GPU"][0]).detail
