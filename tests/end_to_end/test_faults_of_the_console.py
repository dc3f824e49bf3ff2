"""Consoles killed, stopped and doubled: the job goes on, and nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from shared.events import JournalRecord, decode_journal_record
from shared.manifest import verify
from tests.end_to_end.held_socket import HeldSocket
from tests.end_to_end.terminal import Terminal
from tests.tui.local_console import STAND_IN, Console, until

HASTY = (
    "from agent import event_socket\n"
    "event_socket.PING_INTERVAL_S = event_socket.PING_TIMEOUT_S = 1.0\n"
    "from agent.cli import main\n"
    "main()"
)


class HastyConsole(Console):
    """Its agent drops a watcher that has been silent for two seconds instead of eighty."""

    def start_agent(self) -> None:
        command = [sys.executable, "-P", "-c", HASTY, "serve", "--root", str(self.root)]
        trainer = shlex.join([sys.executable, str(STAND_IN)])
        self.agent = subprocess.Popen([*command, "--trainer-command", trainer])
        until(lambda: self.agent_pid() == self.agent.pid)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = HastyConsole(tmp_path_factory.mktemp("faults"))
    made.start_agent()
    yield made
    made.kill_agent()


def attempt_path(console: Console, job_id: str, number: int = 1) -> Path:
    return console.root / "jobs" / job_id / "attempts" / str(number)


def journal(console: Console, job_id: str, number: int = 1) -> list[JournalRecord]:
    """The agent's, as it lies on the disk."""
    try:
        content = (attempt_path(console, job_id, number) / "journal.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]
    return [decode_journal_record(line) for line in whole.splitlines()]


def journal_end(console: Console, job_id: str) -> str:
    """The last lines of the agent's journal, for looking often."""
    try:
        content = (attempt_path(console, job_id) / "journal.jsonl").read_bytes()
    except FileNotFoundError:
        return ""
    return content[-4000:].decode()


def has_ended(console: Console, job_id: str) -> bool:
    return '"kind":"attempt_ended"' in journal_end(console, job_id)


def last_step(console: Console, job_id: str) -> int:
    steps = re.findall(r'"kind":"metrics","step":(\d+)', journal_end(console, job_id))
    return int(steps[-1]) if steps else 0


def stored(console: Console, question: str, job_id: str) -> list[tuple[Any, ...]]:
    """What the console's database has, past all of our code."""
    try:
        database = sqlite3.connect(f"file:{console.home / 'brightrun.db'}?mode=ro", uri=True)
        try:
            return database.execute(question, (job_id,)).fetchall()
        finally:
            database.close()
    except sqlite3.OperationalError:
        return []  # Not there yet, or without tables yet.


def stored_seqs(console: Console, job_id: str) -> list[tuple[int, int]]:
    question = "SELECT attempt, seq FROM job_events WHERE training_job_id = ? ORDER BY rowid"
    return stored(console, question, job_id)


def assert_everything_is_stored_once(console: Console, job_id: str) -> None:
    records = journal(console, job_id)
    assert stored_seqs(console, job_id) == [(record.attempt, record.seq) for record in records]
    steps = [r.event.step for r in records if r.event.kind == "metrics"]
    question = "SELECT step FROM training_metrics_history WHERE training_job_id = ? ORDER BY step"
    assert stored(console, question, job_id) == [(step,) for step in steps]


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("words", "what", "agent_knows"),
    [
        pytest.param(b"GET /health", "answer", False, id="before the agent was reached"),
        pytest.param(b"POST /training/start", "request", False, id="the start on its way"),
        pytest.param(b"POST /training/start", "answer", True, id="the answer on its way"),
    ],
)
def test_a_console_killed_while_it_starts_a_job_leaves_what_can_be_taken_up_again(
    console: Console, words: bytes, what: Literal["request", "answer"], agent_knows: bool
) -> None:
    job_id = f"killed-{what}-{len(words)}"
    arguments = ("--dataset", console.dataset, "--job-id", job_id, "--notes", "steps=4")
    with HeldSocket(console.root, words, what=what) as held:
        starting = console.popen("start", *arguments)
        assert held.is_holding.wait(20)
        question = "SELECT status FROM training_jobs WHERE id = ?"
        assert stored(console, question, job_id) == [("queued",)], "the intent comes first"
        if agent_knows:
            until(lambda: has_ended(console, job_id))
        kill(starting)

    assert attempt_path(console, job_id).exists() is agent_knows
    assert console.run("jobs")[0] == 0
    code, out, err = console.run("start", *arguments, "--watch")
    assert code == 0, out + err
    assert not attempt_path(console, job_id, 2).exists()
    assert_everything_is_stored_once(console, job_id)


def test_an_intent_that_reached_no_agent_can_be_cancelled(console: Console) -> None:
    with HeldSocket(console.root, b"GET /health") as held:
        starting = console.popen("start", "--dataset", console.dataset, "--job-id", "never-arrived")
        assert held.is_holding.wait(20)
        kill(starting)
    assert console.run("cancel", "never-arrived")[0] == 0
    assert json.loads(console.run("show", "never-arrived", "--json")[1])["status"] == "cancelled"
    assert not attempt_path(console, "never-arrived").exists()


def test_a_console_killed_again_and_again_while_it_watches_stores_everything_once(
    console: Console,
) -> None:
    assert console.start("killed-watching", "steps=100000 delay=0.04")[0] == 0
    for _ in range(2):
        before = len(stored_seqs(console, "killed-watching"))
        watcher = console.popen("watch", "killed-watching")
        until(lambda before=before: len(stored_seqs(console, "killed-watching")) > before + 5)  # type: ignore[misc]
        kill(watcher)
    assert console.run("cancel", "killed-watching")[0] == 0
    assert console.run("watch", "killed-watching")[0] == 3
    assert_everything_is_stored_once(console, "killed-watching")
    assert not attempt_path(console, "killed-watching", 2).exists()


def test_a_console_killed_while_it_fetches_goes_on_where_it_was(
    console: Console, tmp_path: Path
) -> None:
    assert console.start("killed-fetching", "steps=2 weights=3000000", "--watch")[0] == 0
    with HeldSocket(console.root, b"adapter_model", after_bytes=2_000_000) as held:
        fetching = console.popen("fetch", "killed-fetching", "--to", tmp_path)
        part = tmp_path / "killed-fetching.partial/adapter/adapter_model.safetensors.part"
        assert held.is_holding.wait(20)
        until(lambda: part.exists() and part.stat().st_size > 1_000_000)
        kill(fetching)
    assert not (tmp_path / "killed-fetching").exists()
    have = part.stat().st_size

    with HeldSocket(console.root) as watched:
        assert console.run("fetch", "killed-fetching", "--to", tmp_path)[0] == 0
    (request,) = (sent for sent in watched.requests if b"adapter_model" in sent)
    assert f"bytes={have}-".encode() in request
    verify(tmp_path / "killed-fetching" / "adapter")
    assert not part.exists()


def test_stopped_consoles_catch_up_when_they_go_on(console: Console, tmp_path: Path) -> None:
    """A laptop that sleeps, for longer than the agent has patience with a silent watcher."""
    assert console.start("asleep", "steps=100000 delay=0.04 talk=1")[0] == 0
    events_path, log_path = tmp_path / "events.jsonl", tmp_path / "log.txt"
    with (
        events_path.open("wb") as events,
        log_path.open("wb") as log,
        Terminal(console.environment) as terminal,
    ):
        commands = (("watch", "asleep", "--json"), events), (("logs", "asleep", "--follow"), log)
        watchers = [
            subprocess.Popen(
                [sys.executable, "-c", "from tui.cli import main; main()", *arguments],
                env=console.environment,
                stdout=output,
            )
            for arguments, output in commands
        ]
        try:
            terminal.until_seen("train ", "training")
            terminal.press("\r")
            terminal.until_seen("smoothed")
            until(lambda: b'"step":9,' in events_path.read_bytes() and log_path.stat().st_size > 0)
            pids = [terminal.pid, *(watcher.pid for watcher in watchers)]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            asleep_since, seen_before = time.monotonic(), events_path.stat().st_size
            until(lambda: time.monotonic() > asleep_since + 3 and last_step(console, "asleep") > 60)
            assert console.run("cancel", "asleep")[0] == 0
            until(lambda: has_ended(console, "asleep"))
            assert events_path.stat().st_size == seen_before
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            terminal.until_seen(f"step {last_step(console, 'asleep')}/100000", "– cancelled")
            for watcher in watchers:
                assert watcher.wait(30) in (0, 3)
        finally:
            for watcher in watchers:
                watcher.kill()
                watcher.wait()

    lines = events_path.read_bytes().splitlines()
    assert [decode_journal_record(line) for line in lines] == journal(console, "asleep")
    assert log_path.read_text() == (attempt_path(console, "asleep") / "trainer.log").read_text()
    assert_everything_is_stored_once(console, "asleep")


def test_two_consoles_on_one_job_do_everything_once(console: Console) -> None:
    notes = ("--notes", "steps=10000 delay=0.03")
    start = ("start", "--dataset", console.dataset, "--job-id", "doubled", *notes, "--json")
    starting = [console.popen(*start) for _ in range(2)]
    answers = [json.loads(process.communicate()[0]) for process in starting]
    assert [process.returncode for process in starting] == [0, 0]
    assert any(answer["created"] for answer in answers)

    watching = [console.popen("watch", "doubled", "--json") for _ in range(2)]
    until(lambda: len(stored_seqs(console, "doubled")) > 20)
    cancelling = console.popen("cancel", "doubled", "--reason", "enough")
    assert console.run("cancel", "doubled", "--reason", "enough")[0] == 0
    cancelling.communicate()
    assert cancelling.returncode == 0
    seen = [process.communicate()[0].splitlines() for process in watching]
    assert [process.returncode for process in watching] == [3, 3]

    records = journal(console, "doubled")
    assert [[decode_journal_record(line) for line in lines] for lines in seen] == [records] * 2
    kinds = [record.event.kind for record in records]
    assert kinds.count("cancel_requested") == kinds.count("trainer_started") == 1
    assert_everything_is_stored_once(console, "doubled")


def test_the_console_of_another_home_takes_up_the_same_job(
    console: Console, tmp_path: Path
) -> None:
    assert console.start("shared", "steps=3", "--watch")[0] == 0
    other = Console(tmp_path)
    other.environment["BRIGHTRUN_AGENT_ROOT"] = str(console.root)
    other.root = console.root
    before = journal(console, "shared")
    # The same work: a name that is taken from the file's, and the file's content, are the same.
    code, out, err = other.start("shared", "steps=3", "--watch")
    assert code == 0, out + err
    assert journal(console, "shared") == before
    assert_everything_is_stored_once(other, "shared")
