from __future__ import annotations

import os

import pytest

from agent.kernel_messages import (
    KERNEL_MESSAGES,
    KernelListener,
    failed_gpu,
    out_of_memory_victims,
)

# Written by Linux 6.18 when a process of a memory cgroup exceeded its limit.
IN_A_CGROUP = [
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
    "oom_memcg=/probe,task_memcg=/probe,task=python,pid=22721,uid=0",
    "Memory cgroup out of memory: Killed process 22721 (python) total-vm:217320kB, "
    "anon-rss:61184kB, file-rss:5840kB, shmem-rss:0kB, UID:0 pgtables:184kB oom_score_adj:0",
]
OF_THE_WHOLE_MACHINE = [
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,"
    "task_memcg=/user.slice,task=python,pid=555,uid=1000",
    "Out of memory: Killed process 555 (python) total-vm:98217320kB, anon-rss:61184000kB, "
    "file-rss:5840kB, shmem-rss:0kB, UID:1000 pgtables:184kB oom_score_adj:0",
]
FALLEN_OFF = "NVRM: Xid (PCI:0000:2b:00): 79, GPU has fallen off the bus."
DOUBLE_BIT = "NVRM: Xid (PCI:0000:01:00): 48, pid=1896, An uncorrectable double bit error"
PAGE_FAULT = "NVRM: Xid (PCI:0000:01:00): 31, pid=1896, MMU Fault: ENGINE GRAPHICS"


def record(message, facility=0, severity=3):
    """A line as /dev/kmsg has it."""
    return f"{facility * 8 + severity},416,46655698533,-;{message}\n SUBSYSTEM=memory\n"


def heard(tmp_path, *records):
    path = tmp_path / "kmsg"
    path.write_text(record(OF_THE_WHOLE_MACHINE[1].replace("555", "4")))
    listener = KernelListener(path)
    with path.open("a") as log:
        log.writelines(records)
    lines = listener.telling_lines()
    listener.close()
    return lines


def test_what_was_said_before_is_not_heard(tmp_path):
    assert heard(tmp_path) == []


def test_only_lines_about_victims_and_gpus_are_kept(tmp_path):
    said = [
        *IN_A_CGROUP,
        "usb 1-1: new device",
        FALLEN_OFF,
        "Tasks state (memory values in pages):",
    ]
    assert heard(tmp_path, *map(record, said)) == [*IN_A_CGROUP, FALLEN_OFF]


def test_a_process_cannot_speak_for_the_kernel(tmp_path):
    """Whoever may write to /dev/kmsg does so with a facility of his own, which the kernel sets."""
    assert heard(tmp_path, record(FALLEN_OFF, facility=1), record("x" + IN_A_CGROUP[1])) == []


def test_a_flood_is_kept_to_its_end(tmp_path):
    said = [IN_A_CGROUP[1].replace("22721", str(pid)) for pid in range(1000, 3000)]
    assert heard(tmp_path, *map(record, said)) == said[-50:]


def test_where_there_are_no_messages_nothing_is_known(tmp_path):
    listener = KernelListener(tmp_path / "missing")
    assert listener.telling_lines() is None
    listener.close()


def test_messages_that_cannot_be_read_to_their_end_are_not_trusted(tmp_path):
    listener = KernelListener(tmp_path)  # Reading a directory is an error.
    assert listener.telling_lines() is None
    listener.close()


@pytest.mark.skipif(
    not os.access(KERNEL_MESSAGES, os.R_OK), reason="the kernel's messages cannot be read here"
)
def test_the_real_messages_are_read_without_waiting():
    listener = KernelListener()
    assert isinstance(listener.telling_lines(), list | None)
    listener.close()


def test_the_victims_are_told_by_their_pids():
    assert out_of_memory_victims(IN_A_CGROUP) == {22721}
    assert out_of_memory_victims(OF_THE_WHOLE_MACHINE) == {555}
    assert out_of_memory_victims([IN_A_CGROUP[1], FALLEN_OFF, OF_THE_WHOLE_MACHINE[0]]) == {
        22721,
        555,
    }
    assert out_of_memory_victims([FALLEN_OFF]) == set()


def test_a_gpu_that_failed_is_told_from_a_program_that_did():
    assert failed_gpu([PAGE_FAULT, FALLEN_OFF]) == FALLEN_OFF
    assert failed_gpu([DOUBLE_BIT]) == DOUBLE_BIT
    assert failed_gpu([PAGE_FAULT, *IN_A_CGROUP]) == ""
