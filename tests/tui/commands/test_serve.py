"""`brightrun serve` as a process of its own, as systemd runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.events import utc_now
from shared.rental import RentalPhase, Wish
from shared.store.store import Store
from tests.fakes.runpod.server import FakeRunpod
from tests.tui import rented

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts one more; all are over at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start_one() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from tui.cli import main; main()", "serve"]
        process = subprocess.Popen(
            command,
            env=os.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start_one
    for process in processes:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], words: str) -> str:
    """Everything it says, up to the line with these words."""
    said = ""
    deadline = time.monotonic() + 30
    assert process.stdout is not None
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        said += line
        if words in line:
            return said
        assert line, f"it ended: {said}"
    raise AssertionError(f"nothing of {words!r} in 30 s: {said}")


async def test_it_acts_says_each_event_and_leaves_cleanly_on_sigterm(
    runpod: FakeRunpod, store: Store, start: Start
) -> None:
    await rented.add_rented_job(store, network_volume_id=None)
    server = start()

    said = until(server, "(machine 1)")
    assert said.splitlines()[0].startswith("controls the rented jobs in ")
    until(server, "rented H100_PCIE")
    lease = await store.rentals.lease()
    assert lease is not None and lease.label.startswith("serve on ")
    server.send_signal(signal.SIGTERM)
    out, _ = server.communicate(timeout=20)

    assert server.returncode == 0
    assert out.splitlines()[-1].startswith("leaves; jobs and machines go on")
    lease = await store.rentals.lease()
    assert lease is not None and lease.expires_at <= utc_now()
    assert len(runpod.pods) == 1
    assert not (await store.get_job("job-rent")).status.is_final


@pytest.mark.slow
async def test_a_second_one_waits_says_for_whom_and_takes_over(
    runpod: FakeRunpod, store: Store, start: Start
) -> None:
    runpod.catalogue.set_stock(0)  # A job that waits for a machine keeps its controller busy.
    await rented.add_rented_job(store, network_volume_id=None)
    first = start()
    until(first, "leads")
    second = start()
    until(second, f"(pid {first.pid}) leads: waits")
    assert len(runpod.pods) == 0

    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=20)
    await store.rentals.wish("job-rent", Wish.CANCEL, "enough")
    until(second, "done")

    stored = await store.rentals.get("job-rent")
    assert stored is not None and stored.rental.phase is RentalPhase.DONE


def test_a_store_that_cannot_be_used_ends_it_with_an_error(home: Path, start: Start) -> None:
    home.mkdir()
    (home / "brightrun.db").write_bytes(b"no database" * 500)

    server = start()
    out, _ = server.communicate(timeout=30)

    assert server.returncode == 1
    assert out.startswith("brightrun: ")


async def test_without_a_key_it_says_so_and_waits_for_one(home: Path, start: Start) -> None:
    server = start()
    said = until(server, "RunPod API key")
    assert "RUNPOD_API_KEY" in said
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=20)
    assert server.returncode == 0
