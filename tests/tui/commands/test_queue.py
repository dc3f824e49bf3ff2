"""`brightrun queue`, `start --queue` and `clone`, with a real agent; the trainer is a stand-in."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.machine_request import MachineRequest
from shared.store.store import open_store
from tests.fakes.runpod.server import FakeRunpod
from tests.tui import rented
from tests.tui.local_console import Console, until

BUSY = "steps=2000 delay=0.05"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.start_agent()
    yield made
    made.kill_agent()


def order(console: Console) -> list[str]:
    queue = json.loads(console.run("queue", "--json")[1])
    assert [job["place"] for job in queue["jobs"]] == list(range(1, len(queue["jobs"]) + 1))
    return [job["job_id"] for job in queue["jobs"]]


def status(console: Console, job_id: str) -> str:
    return str(json.loads(console.run("show", job_id, "--json")[1])["status"])


def test_queued_jobs_are_listed_moved_cancelled_and_not_started(console: Console) -> None:
    console.start("job-busy", BUSY)
    assert "nothing waits" in console.run("queue")[2]
    code, out, err = console.start("job-one", "steps=2", "--queue")
    assert (code, err) == (0, "")
    assert "job-one is queued, 1 of 1; it starts while a console or `brightrun serve` runs" in out
    for name in ("job-two", "job-three"):
        console.start(name, "steps=2", "--queue")

    code, out, err = console.run("queue")
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["1", "job-one"],
        ["2", "job-two"],
        ["3", "job-three"],
    ]
    assert "job-busy is at work there" in out.splitlines()[1]
    assert "1 job a host" in err

    assert console.run("queue", "promote", "job-three")[0] == 0
    assert order(console) == ["job-three", "job-one", "job-two"]
    assert console.run("queue", "move", "job-three", "2")[0] == 0
    assert order(console) == ["job-one", "job-three", "job-two"]
    assert console.run("queue", "move", "job-busy", "1")[0] == 2
    assert console.run("queue", "move", "job-one", "0")[0] == 2

    assert console.run("cancel", "job-one")[:2] == (0, "")
    assert (status(console, "job-one"), order(console)) == ("cancelled", ["job-three", "job-two"])
    # Nobody gives turns here, and looking at a job does not start it.
    assert [status(console, name) for name in ("job-two", "job-three")] == ["queued", "queued"]
    assert not list((console.root / "jobs").glob("job-t*"))


def test_the_limit_is_shown_set_and_kept_in_its_range(console: Console) -> None:
    assert (
        "3 jobs on rented machines, 3 jobs on your own, 1 job a host"
        in console.run("queue", "limit")[1]
    )
    assert console.run("queue", "limit", "5", "--per-host", "2")[0] == 0
    assert "5 jobs on your own, 2 jobs a host" in console.run("queue", "limit")[1]
    for typed in ("0", "21"):
        code, _, err = console.run("queue", "limit", typed)
        assert (code, "from 1 to 20" in err) == (2, True)


def test_a_command_that_waits_for_its_queued_job_gives_it_its_turn(console: Console) -> None:
    console.start("job-busy", "steps=10 delay=0.1")
    code, out, err = console.start("job-one", "steps=3", "--queue", "--watch")
    assert code == 0, err
    assert "step 3/3" in out
    assert "job-one: its turn has come, local has it" in err
    assert [status(console, name) for name in ("job-busy", "job-one")] == ["completed"] * 2


def test_a_queued_start_that_is_repeated_changes_nothing(console: Console) -> None:
    arguments = ("job-one", "steps=2", "--queue", "--json")
    first, again = (json.loads(console.start(*arguments)[1]) for _ in range(2))
    assert (first["created"], again["created"]) == (True, False)
    assert order(console) == ["job-one"]
    # Without --queue it starts at once, as what is typed says.
    assert console.start("job-one", "steps=2", "--watch")[0] == 0
    assert order(console) == []


def test_serve_hands_queued_jobs_over(console: Console) -> None:
    console.start("job-one", "steps=2", "--queue")
    server = console.popen("serve")
    try:
        until(lambda: status(console, "job-one") == "completed")
    finally:
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate(timeout=20)
    assert "hands queued jobs over" in out
    assert "job-one: its turn has come, local has it" in out


def test_a_start_at_once_says_what_is_at_work_there(console: Console) -> None:
    assert "already at work" not in console.start("job-busy", BUSY)[1]
    code, out, _ = console.start("job-one", "steps=2")
    assert code == 0
    assert "1 job of ours already at work on local; GPUs are shared. --queue waits" in out


def test_a_running_job_is_cloned_with_changes_and_says_which(console: Console) -> None:
    console.start("job-busy", BUSY)
    code, out, err = console.run(
        "clone", "job-busy", "--set", "lora_r=8", "--set", "seed=7", "--name", "the other one"
    )
    assert (code, err) == (0, "")
    clone = out.split()[0]
    assert out.splitlines()[0] == f"{clone} started, a clone of job-busy."
    assert "  name: train -> the other one" in out
    assert "  lora_r: 16 -> 8" in out
    assert "  seed: 42 -> 7" in out
    shown = json.loads(console.run("show", clone, "--json")[1])
    assert shown["retry_of"] is None
    assert shown["job"]["hyperparameters"]["lora_r"] == 8
    console.run("cancel", clone)


def test_a_clone_can_wait_for_its_turn_on_another_host(console: Console) -> None:
    console.start("job-one", "steps=2", "--watch")
    host = "ssh:nobody@127.0.0.1:1"
    code, out, _ = console.run("clone", "job-one", "--queue", "--host", host)
    assert code == 0
    assert f"  host: local -> {host}" in out
    assert order(console) == [out.split()[0]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "runpod"), "it says nothing of a machine to rent"),
        (("--budget", "5"), "nothing is rented for job-one"),
        (("--set", "lora_r=0"), "lora_r"),
        (("--set", "nonsense=1"), "there is no such setting"),
        (("--name", "x"), "3 to 100 characters"),
    ],
)
def test_a_clone_that_cannot_be_is_refused_and_nothing_is_written(
    console: Console, arguments: tuple[str, ...], words: str
) -> None:
    console.start("job-one", "steps=2", "--queue")
    code, _, err = console.run("clone", "job-one", *arguments)
    assert (code, words in err) == (2, True), err
    assert order(console) == ["job-one"]


def test_a_rented_job_is_cloned_with_its_machine_and_another_budget(
    console: Console, runpod: FakeRunpod
) -> None:
    console.environment |= {
        "RUNPOD_API_KEY": str(runpod.api_key),
        "RUNPOD_API_BASE_URL": runpod.url,
    }

    async def add() -> None:
        async with open_store(console.home / "brightrun.db") as store:
            await rented.add_rented_job(store, network_volume_id=None)

    asyncio.run(add())
    arguments = ("clone", "job-rent", "--set", "lora_r=8")
    code, _, err = console.run(*arguments)
    assert (code, "--yes" in err) == (2, True)
    code, out, err = console.run(*arguments, "--budget", "5", "--yes")
    assert code == 0, err
    clone = out.split()[0]
    assert "  lora_r: 16 -> 8" in out
    assert order(console) == ["job-rent", clone]

    async def request(job_id: str) -> MachineRequest:
        async with open_store(console.home / "brightrun.db") as store:
            stored = await store.rentals.get(job_id)
            assert stored is not None
            return stored.request

    first, second = asyncio.run(request("job-rent")), asyncio.run(request(clone))
    assert second == first.model_copy(update={"budget_usd": 5.0})
    # On an own host nothing is rented for it.
    host = ("--host", "local", "--queue")
    assert console.run("clone", "job-rent", *host)[0] == 0
    assert console.run("clone", "job-rent", *host, "--budget", "5")[0] == 2
    assert runpod.pods == []
