"""A database that is locked, full or damaged: one sentence, and no job knows of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.events import JournalRecord, decode_journal_record
from shared.store.store import open_store
from tests.tui.local_console import Console, until
from tui.config import Config
from tui.services.feed import JobFeed, JobNews
from tui.services.session import open_session

LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.start_agent()
    yield made
    made.kill_agent()


@pytest.fixture
def locked(console: Console) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Lets another process hold the database's lock, until its stdin is closed."""
    lockers = []

    def lock() -> subprocess.Popen[str]:
        locker = subprocess.Popen(
            [sys.executable, "-c", LOCKER, str(console.home / "brightrun.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        lockers.append(locker)
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        return locker

    yield lock
    for locker in lockers:
        locker.kill()
        locker.communicate()


@pytest.fixture(autouse=True)
def _short_busy_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.store.engine._BUSY_TIMEOUT_S", 0.3)


def journal(console: Console, job_id: str) -> list[JournalRecord]:
    path = console.root / "jobs" / job_id / "attempts/1/journal.jsonl"
    return [decode_journal_record(line) for line in path.read_bytes().splitlines()]


def has_ended(console: Console, job_id: str) -> bool:
    path = console.root / "jobs" / job_id / "attempts/1/journal.jsonl"
    return path.exists() and b'"kind":"attempt_ended"' in path.read_bytes()


def stored(console: Console, job_id: str) -> list[JournalRecord]:
    async def read() -> list[JournalRecord]:
        async with open_store(console.home / "brightrun.db") as store:
            return await store.events(job_id)

    return asyncio.run(read())


def test_a_database_that_stays_locked_ends_a_watch_with_a_sentence_and_is_filled_up_later(
    console: Console, locked: Callable[[], subprocess.Popen[str]]
) -> None:
    assert console.start("locked", "steps=20 delay=0.02")[0] == 0
    locker = locked()
    code, _, err = console.run("watch", "locked")
    assert code == 1
    assert err.endswith("Another brightrun is writing to it; try again in a moment.\n")
    assert len(err.splitlines()) == 1
    until(lambda: has_ended(console, "locked"))
    assert stored(console, "locked") == []

    locker.communicate()
    assert console.run("watch", "locked")[0] == 0
    assert stored(console, "locked") == journal(console, "locked")


async def test_a_console_that_meets_a_locked_database_says_so_and_fills_it_up_by_itself(
    console: Console, locked: Callable[[], subprocess.Popen[str]]
) -> None:
    assert await asyncio.to_thread(lambda: console.start("locked", "steps=30 delay=0.05")[0]) == 0
    locker = await asyncio.to_thread(locked)
    heard: list[JobNews] = []
    async with open_session(Config(console.home, console.root)) as session:
        following = asyncio.create_task(JobFeed(session, heard.append, poll_s=0.1).run())
        try:
            async with asyncio.timeout(20):
                while not any(news.unreachable for news in heard):
                    await asyncio.sleep(0.02)
                (why,) = {news.unreachable.reason for news in heard if news.unreachable}
                assert why.endswith("Another brightrun is writing to it; try again in a moment.")
                await asyncio.to_thread(locker.communicate)
                while not heard[-1].job.status.is_final:
                    await asyncio.sleep(0.02)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        records = [record for news in heard for record in news.records]
        assert records == await session.store.events("locked") == journal(console, "locked")


FULL_DISK = """
set -e
mount -t tmpfs -o size=2m none "$BRIGHTRUN_HOME"
brightrun() { "$PYTHON" -c "from tui.cli import main; main()" "$@"; }
brightrun start --dataset "$DATASET" --job-id full --notes "steps=100000 delay=0.02" > /dev/null
brightrun watch full > "$BRIGHTRUN_HOME/seen" & watching=$!
until grep -qs "step 5/" "$BRIGHTRUN_HOME/seen"; do sleep 0.05; done
dd if=/dev/zero of="$BRIGHTRUN_HOME/filler" bs=1k 2> /dev/null || true
if wait $watching; then exit 91; fi
if brightrun jobs; then exit 92; fi
rm "$BRIGHTRUN_HOME/filler"
brightrun cancel full > /dev/null
brightrun watch full --json || exit $(($? - 3))
"""


def test_a_full_disk_ends_a_watch_with_a_sentence_and_is_filled_up_later(console: Console) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("needs unshare and a kernel that lets this user have a mount namespace")
    console.home.mkdir()
    ran = subprocess.run(
        [unshare, "-rm", "sh", "-c", FULL_DISK],
        env={**console.environment, "PYTHON": sys.executable, "DATASET": str(console.dataset)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, (ran.returncode, ran.stderr)
    while_watching, when_opened, *_ = ran.stderr.splitlines()
    assert while_watching.endswith("is full. Free some disk space and try again.")
    assert "full" in when_opened
    assert "Traceback" not in ran.stderr
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [decode_journal_record(line) for line in lines] == journal(console, "full")


@pytest.mark.parametrize("damage", ["cut in half", "emptied"])
def test_a_damaged_database_is_moved_away_and_its_jobs_are_taken_up_again(
    console: Console, damage: str
) -> None:
    database = console.home / "brightrun.db"
    assert console.start("damaged", "steps=100000 delay=0.05")[0] == 0
    watcher = console.popen("watch", "damaged")
    assert watcher.stdout is not None
    assert any("step 3/" in line for line in watcher.stdout)
    watcher.send_signal(signal.SIGKILL)  # Its write-ahead log stays behind.
    watcher.communicate()
    size = database.stat().st_size
    os.truncate(database, size // 2 if damage == "cut in half" else 0)

    code, _, err = console.run("watch", "damaged")
    assert code in (1, 4), err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    if damage != "emptied":
        assert "Move it aside; running jobs are not touched" in err

    for path in console.home.glob("brightrun.db*"):
        path.rename(path.with_name(f"moved-{path.name}"))
    assert console.start("damaged", "steps=100000 delay=0.05")[0] == 0
    assert console.run("cancel", "damaged")[0] == 0
    assert console.run("watch", "damaged")[0] == 3
    assert stored(console, "damaged") == journal(console, "damaged")
    assert not (console.root / "jobs/damaged/attempts/2").exists()


def test_only_the_database_file_moved_away_also_works(console: Console) -> None:
    """Its write-ahead log is left behind, and belongs to no database any more."""
    assert console.start("left-behind", "steps=3", "--watch")[0] == 0
    raw = sqlite3.connect(console.home / "brightrun.db")
    raw.execute("UPDATE training_jobs SET name = 'in the log only'")
    raw.commit()
    log = (console.home / "brightrun.db-wal").read_bytes()
    raw.close()
    (console.home / "brightrun.db").rename(console.home / "moved.db")
    (console.home / "brightrun.db-wal").write_bytes(log)
    code, out, err = console.start("left-behind", "steps=3", "--watch")
    assert code == 0, out + err
    assert stored(console, "left-behind") == journal(console, "left-behind")
