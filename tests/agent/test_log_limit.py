from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.log_limit import limit_log
from agent.log_window import read_end, read_log_window
from agent.run_directory import JobDirectory
from shared.lifecycle import JobStatus

LIMIT = 256 * 1024
LINE = 64
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def log(tmp_path):
    path = JobDirectory(tmp_path / "job").attempt(1).log_path
    path.parent.mkdir(parents=True)
    return path


def window(log, offset, limit=1 << 20):
    return read_log_window(JobDirectory(log.parents[2]), 1, offset, limit)


def write_lines(log, numbers):
    with log.open("ab") as file:
        file.write(b"".join(line(number) for number in numbers))


def line(number):
    return f"line {number} ".ljust(LINE - 1, ".").encode() + b"\n"


def numbers_in(text):
    whole = [words for words in text.splitlines() if words.startswith("line ")]
    return [int(words.split()[1]) for words in whole]


def size_on_disk(path):
    return path.stat().st_blocks * 512


def test_a_log_within_its_limit_is_left_as_it_is(log):
    assert not limit_log(log, LIMIT)
    write_lines(log, range(LIMIT // LINE))
    before = log.read_bytes()
    assert not limit_log(log, LIMIT)
    assert log.read_bytes() == before


def test_beyond_its_limit_the_last_half_stays_where_it_was(log):
    write_lines(log, range(3 * LIMIT // LINE))
    before = log.read_bytes()
    assert limit_log(log, LIMIT)
    assert size_on_disk(log) <= LIMIT * 3 // 4
    assert log.stat().st_size == len(before)
    assert log.read_bytes()[-LIMIT // 2 :] == before[-LIMIT // 2 :]
    assert not limit_log(log, LIMIT), "once is enough"
    assert read_end(log, LINE) == before[-LINE:].decode()


def test_reading_from_the_dropped_part_begins_behind_it_and_says_so(log):
    write_lines(log, range(3 * LIMIT // LINE))
    limit_log(log, LIMIT)
    for offset in (0, 1, 2 * LIMIT, -3 * LIMIT):
        part = window(log, offset)
        notice, *lines = part.text.splitlines()[1:]
        assert notice.endswith("bytes of this log were dropped to spare the disk]")
        assert part.offset > 2 * LIMIT
        assert part.next_offset == part.size == log.stat().st_size
        assert len(lines) == LIMIT // 2 // LINE
        assert lines[-1].startswith(f"line {3 * LIMIT // LINE - 1} ")


def test_a_log_of_which_nothing_is_left_is_at_its_end(log):
    log.touch()
    os.truncate(log, 3 * LIMIT)
    part = window(log, 0)
    assert (part.text, part.offset, part.next_offset) == ("", 3 * LIMIT, 3 * LIMIT)


def test_neither_writer_nor_follower_notices_that_older_parts_are_dropped(log):
    """The writer appends 20 times the limit while the log is cut again and again."""
    count = 20 * LIMIT // LINE
    seen, starts, cuts, offset, rest = [], [], 0, 0, ""
    log.touch()

    def write():
        for number in range(0, count, 64):
            # A follower that is far behind misses what was dropped; this one keeps up.
            while log.stat().st_size - offset > LIMIT // 8:
                time.sleep(0.0005)
            write_lines(log, range(number, number + 64))

    writing = threading.Thread(target=write)
    writing.start()
    while writing.is_alive() or offset < log.stat().st_size:
        part = window(log, offset)
        offset = part.next_offset
        whole, newline, rest = (rest + part.text).rpartition("\n")
        seen += numbers_in(whole + newline)
        cuts += limit_log(log, LIMIT)
        starts.append(window(log, 0, limit=4096).offset)
    writing.join()
    assert seen == list(range(count))
    assert cuts > 5
    assert starts == sorted(starts)
    assert size_on_disk(log) <= 2 * LIMIT


ON_RAMFS = """
import os, sys
from pathlib import Path
from agent import log_limit
path = Path("/mnt/trainer.log")
content = os.urandom(1 << 20).replace(b"\\0", b"x")
path.write_bytes(content)
appending = os.open(path, os.O_WRONLY | os.O_APPEND)
assert log_limit._libc.fallocate(appending, 3, 0, 4096) == -1, "this file system makes holes"
assert log_limit.limit_log(path, 1 << 18)
os.write(appending, b"more")
status = path.stat()
assert status.st_blocks * 512 < 1 << 18, status
assert status.st_size == (1 << 20) + 4
assert path.read_bytes()[-(1 << 17) - 4:] == content[-(1 << 17):] + b"more"
reading = os.open(path, os.O_RDONLY)
start = log_limit.skip_dropped(reading, 0, status.st_size)
assert os.pread(reading, 12, start) == b"\\n[the first ", start
"""


def in_own_mount_namespace(mount: str, script: str, *arguments: object) -> None:
    """Run a Python script with something mounted at /mnt, which nobody else sees."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("needs unshare and a kernel that lets this user have a mount namespace")
    command = f'{mount} && exec "$@"'
    ran = subprocess.run(
        [unshare, "-rm", "sh", "-c", command, "sh", sys.executable, "-c", script]
        + [str(argument) for argument in arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]


def test_where_no_hole_can_be_made_the_log_is_cut_all_the_same():
    in_own_mount_namespace("mount -t ramfs none /mnt", ON_RAMFS)


async def test_a_trainer_that_floods_its_log_is_cut_while_it_runs_and_completes(pod):
    supervisor = await pod.supervisor(log_limit_bytes=1 << 20, log_check_s=0.02)
    await supervisor.start(pod.spec("steps=20 delay=0.05 flood=200000"))
    log = pod.attempt(1).log_path
    await pod.until(lambda: log.exists() and log.stat().st_size > 4 << 20)
    await pod.until(lambda: size_on_disk(log) <= 1 << 20)
    assert supervisor.job("job-one").state.status is not JobStatus.COMPLETED
    await pod.until_final(supervisor)
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED
    whole = read_log_window(pod.root.job("job-one"), None, 0, 1 << 20)
    assert "bytes of this log were dropped" in whole.text[:100]
    assert whole.text.endswith("line 199999 of the flood\nthe stand-in trainer écrit no secret\n")


async def test_the_agents_own_log_is_cut_too(pod):
    pod.root.path.mkdir()
    pod.root.log_path.write_bytes(b"x" * (9 << 20))
    await pod.supervisor()
    assert size_on_disk(pod.root.log_path) <= 5 << 20


async def test_a_log_that_cannot_be_cut_is_said_once_and_stops_nothing(pod, caplog, monkeypatch):
    monkeypatch.setattr("agent.supervisor._AGENT_LOG_LIMIT_BYTES", 1000)
    pod.root.log_path.mkdir(parents=True)
    supervisor = await pod.supervisor(log_check_s=0.01)
    await supervisor.start(pod.spec("steps=5 delay=0.05"))
    await pod.until_final(supervisor)
    assert supervisor.job("job-one").state.status is JobStatus.COMPLETED
    said = [record.getMessage() for record in caplog.records]
    assert len([words for words in said if f"{pod.root.log_path}: cannot be kept" in words]) == 1


FULL_DISK = """
import asyncio, os, sys
from pathlib import Path
from shared.lifecycle import JobStatus
from tests.agent.conftest import Pod

async def main():
    pod = Pod(Path("/mnt"))
    try:
        first = await pod.supervisor()
        await first.start(pod.spec("steps=60 delay=0.05"))
        await pod.until_step(3)
        await pod.close(first)
        with pod.attempt(1).log_path.open("ab", buffering=0) as log:
            try:
                while True:
                    log.write(b"x" * 4096)
            except OSError as error:
                assert error.errno == 28, error
        agent = await pod.supervisor(log_limit_bytes=1 << 20)
        assert os.statvfs("/mnt").f_bavail > 0
        records = await pod.until_final(agent)
        assert agent.job("job-one").state.status is JobStatus.COMPLETED, records[-1]
        assert [r.event.step for r in records if r.event.kind == "metrics"] == list(range(1, 61))
    finally:
        await pod.clean_up()

asyncio.run(main())
"""


def test_a_log_that_filled_the_disk_while_no_agent_lived_is_cut_by_the_next_one():
    in_own_mount_namespace("mount -t tmpfs -o size=8m none /mnt", FULL_DISK)
