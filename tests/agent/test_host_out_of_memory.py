"""The kernel really kills a trainer for want of memory, in a cgroup with a limit."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import pytest

from agent.kernel_messages import KERNEL_MESSAGES, out_of_memory_victims, pids_are_the_kernels
from agent.launch import read_exit, start_trainer
from agent.run_directory import AttemptDirectory
from shared import events
from shared.events import decode_journal_record
from shared.lifecycle import STOP_REASONS, StopReason
from tests.agent.test_cli import finish, start_run

LIMIT_BYTES = 220 << 20
"""An agent, a shim and a trainer without torch take 110 MB; what this one takes on top is 200."""

_CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def small_cgroup():
    """A memory cgroup with a limit; version 2 where the kernel has it, else version 1."""
    version_1 = _CGROUPS / "memory"
    parent, limit = (version_1, "memory.limit_in_bytes")
    if not version_1.is_dir():
        parent, limit = (_CGROUPS, "memory.max")
    path = parent / f"brightrun-test-{uuid.uuid4().hex[:8]}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        (path / limit).write_text(str(LIMIT_BYTES))
    except OSError as error:
        path.rmdir()
        pytest.skip(f"the memory of a cgroup cannot be limited here: {error}")
    yield path
    for pid in (path / "cgroup.procs").read_text().split():
        os.kill(int(pid), 9)
    for _ in range(100):
        try:
            path.rmdir()
            break
        except OSError:
            os.sched_yield()


async def test_a_trainer_for_which_the_machine_is_too_small_is_not_tried_again(pod, small_cgroup):
    enter = ["/bin/sh", "-c", f'echo $$ > {small_cgroup}/cgroup.procs; exec "$@"', "enter"]
    process = start_run(pod, "--json", notes="steps=4 at=3 dies=memory until=9", enter=enter)
    code, output, errors = await finish(process)
    assert (code, errors) == (1, "")
    ends = [
        r.event
        for r in map(decode_journal_record, output.splitlines())
        if isinstance(r.event, events.AttemptEnded)
    ]
    assert [(end.stop_reason, end.will_retry) for end in ends] == [
        (StopReason.HOST_OUT_OF_MEMORY, False)
    ]
    assert ends[0].signal == 9
    assert "RAM" in STOP_REASONS[StopReason.HOST_OUT_OF_MEMORY].advice
    assert read_exit(pod.attempt(1)).oom_kills == 1


@pytest.mark.skipif(
    not (os.access(KERNEL_MESSAGES, os.R_OK) and pids_are_the_kernels()),
    reason="the kernel's messages cannot be read here, or count other pids",
)
async def test_the_kernel_names_a_trainer_that_it_killed_in_a_cgroup_of_its_own(pod, small_cgroup):
    """Where the counter of the shim's own cgroup need not tell anything."""
    attempt = AttemptDirectory(pod.path / "1")
    attempt.path.mkdir()
    enter = f'echo $$ > {small_cgroup}/cgroup.procs; exec {sys.executable} -c "$0"'
    take = "bytearray(300 << 20).replace(b'\\0', b'x')"
    record = start_trainer(attempt, ["/bin/sh", "-c", enter, take])
    await pod.until(attempt.exit_path.exists)
    ending = read_exit(attempt)
    assert (ending.signal, ending.kernel_pid) == (9, record.trainer_pid)
    assert out_of_memory_victims(ending.kernel_messages) == {record.trainer_pid}
