"""The command line against a real agent process; only the trainer is a stand-in."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.manifest import verify
from tests.tui.local_console import Console
from tui.services.hosts.local import LocalHost


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = Console(tmp_path_factory.mktemp("console"))
    made.start_agent()
    yield made
    made.kill_agent()


def test_a_job_goes_from_its_file_to_a_fetched_adapter(console: Console, tmp_path: Path) -> None:
    code, out, err = console.start("job-whole", "steps=4")
    assert (code, err) == (0, "")
    assert "job-whole started." in out

    code, out, _ = console.run("watch", "job-whole")
    assert code == 0
    steps = [line.split("step ")[1].split()[0] for line in out.splitlines() if "  step " in line]
    assert steps == ["1/4", "2/4", "3/4", "4/4"]

    code, out, _ = console.run("fetch", "job-w", "--to", tmp_path)
    assert (code, out) == (0, f"{tmp_path}/job-whole\n")
    assert verify(tmp_path / "job-whole" / "adapter")["job"] == "stand-in"

    code, out, _ = console.run("logs", "job-whole", "--follow")
    assert (code, out) == (0, "the stand-in trainer écrit no secret\n")


def test_starting_the_same_job_again_changes_nothing(console: Console) -> None:
    assert console.start("job-twice", "steps=2", "--watch")[0] == 0

    code, out, _ = console.start("job-twice", "steps=2", "--json")
    assert code == 0
    assert json.loads(out) == {"job_id": "job-twice", "created": False, "status": "completed"}

    code, _, err = console.start("job-twice", "steps=3")
    assert code == 2
    assert "--job-id" in err


def test_a_job_that_fails_makes_the_watcher_fail(console: Console) -> None:
    code, _, err = console.start("job-crash", "steps=3 at=2 dies=crash until=9", "--watch")

    assert code == 1
    assert "job-crash failed: trainer_crashed" in err


def test_an_interrupted_watcher_leaves_the_job_running_until_it_is_cancelled(
    console: Console,
) -> None:
    console.start("job-long", "steps=1000 delay=0.05")
    watcher = console.popen("watch", "job-long")
    assert watcher.stdout is not None
    assert any("step 1/1000" in line for line in watcher.stdout)

    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=20)
    assert watcher.returncode == 130
    assert "the job goes on" in err
    assert json.loads(console.run("show", "job-long", "--json")[1])["status"] == "training"

    assert console.run("cancel", "job-long", "--reason", "seen enough")[0] == 0
    code, out, _ = console.run("watch", "job-long")
    assert code == 3
    assert "cancel requested: seen enough" in out
    assert console.run("fetch", "job-long")[0] == 2


def test_a_killed_agent_is_started_again_by_the_watcher(tmp_path: Path) -> None:
    console = Console(tmp_path)
    console.start_agent()
    console.start("job-alone", "steps=60 delay=0.1")
    watcher = console.popen("watch", "job-alone")
    assert watcher.stdout is not None
    assert any("step 2/60" in line for line in watcher.stdout)

    console.kill_agent()
    assert "; unreachable: " in console.run("jobs")[2]
    # Not `communicate`: it forgets the lines that were read ahead.
    out = watcher.stdout.read()
    watcher.communicate()

    assert watcher.returncode == 0
    assert "the job may well be running" in out
    steps = [line.split("step ")[1].split()[0] for line in out.splitlines() if "  step " in line]
    assert steps == [f"{step}/60" for step in range(3, 61)]
    console.end_detached_agent()


def test_jobs_that_the_store_lacks_are_taken_up_from_their_machine(
    console: Console, tmp_path: Path
) -> None:
    assert console.start("job-lost", "steps=3", "--watch")[0] == 0
    before = console.run("show", "job-lost")[1]
    for path in console.home.glob("brightrun.db*"):
        path.rename(path.with_name(f"moved-{path.name}"))
    assert console.run("show", "job-lost")[0] == 4

    code, _, err = console.run("machines", "local", "--adopt")

    assert (code, "job-lost is in this store now (completed)" in err) == (0, True)
    after = console.run("show", "job-lost")[1]
    # What was foreseen of it is lost with the store; what happened is not.
    before, _, foreseen = before.partition("\nforecast ")
    assert foreseen
    assert [line for line in after.splitlines() if "created" not in line] == [
        line for line in before.splitlines() if "created" not in line
    ]
    assert "job-lost" not in console.run("machines", "local", "--adopt")[2]


def test_a_console_starts_the_agent_of_its_machine_and_leaves_it_running(tmp_path: Path) -> None:
    console = Console(tmp_path)
    host = LocalHost(console.root)

    health = asyncio.run(host.ensure_agent())
    assert asyncio.run(host.ensure_agent()) == health

    assert health.pid == console.agent_pid()
    console.end_detached_agent()


def test_an_agent_that_cannot_start_says_why(tmp_path: Path) -> None:
    console = Console(tmp_path)
    console.root.write_text("a file is in the way")

    code, _, err = console.start("job-nowhere")

    assert code == 5
    assert "Traceback" not in err
    assert "--job-id job-nowhere" in err
    assert json.loads(console.run("show", "job-nowhere", "--json")[1])["status"] == "queued"


def test_a_job_that_has_ended_is_retried_as_a_new_one(console: Console) -> None:
    console.start("job-first", "steps=3")
    console.run("watch", "job-first")
    code, out, err = console.run("retry", "job-first")
    assert (code, err) == (0, "")
    again = out.split()[0]
    assert "a retry of job-first" in out

    assert console.run("watch", again)[0] == 0
    shown = json.loads(console.run("show", again, "--json")[1])
    first = json.loads(console.run("show", "job-first", "--json")[1])
    assert shown["retry_of"] == "job-first"
    assert shown["job"] == {**first["job"], "job_id": again}


def test_a_job_that_still_runs_is_not_retried(console: Console) -> None:
    console.start("job-busy", "steps=2000 delay=0.05")
    code, _, err = console.run("retry", "job-busy")
    assert code == 2
    assert "only a job that has ended can be retried" in err
    console.run("cancel", "job-busy")


def test_a_retry_does_not_need_the_file_where_it_was(console: Console, tmp_path: Path) -> None:
    """The host has its own copy, named by the content."""
    moved = tmp_path / "moved.json"
    moved.write_text(console.dataset.read_text())
    console.run("start", "--dataset", moved, "--job-id", "job-moved", "--notes", "steps=2")
    console.run("watch", "job-moved")
    moved.unlink()

    code, out, _ = console.run("retry", "job-moved")
    assert code == 0
    assert console.run("watch", out.split()[0])[0] == 0
