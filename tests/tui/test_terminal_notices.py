"""The open console calls for attention: the bell, and the desktop by way of its terminal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from shared.lifecycle import JobStatus, StopReason
from shared.store.store import open_store
from tests.end_to_end.terminal import Terminal
from tests.shared.store.journal import job_spec
from tests.tui.local_console import Console

DESKTOP = re.compile(rb"\x1b\]9;([^\x07]*)\x07")
BELL = b"\x07"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.environment["TERM_PROGRAM"] = "iTerm.app"
    made.environment.pop("TMUX", None)
    made.start_agent()
    yield made
    made.kill_agent()


def end_job(console: Console, name: str) -> None:
    """As another process would."""

    async def work() -> None:
        async with open_store(console.home / "brightrun.db") as store:
            job_id = name.replace(" ", "-")
            await store.add_job(job_spec(job_id, name=name), "local")
            await store.settle_job(job_id, JobStatus.COMPLETED, "", StopReason.COMPLETED)

    asyncio.run(work())


def test_an_end_rings_and_is_shown_on_the_desktop_and_an_old_one_is_not(console: Console) -> None:
    end_job(console, "old run")
    with Terminal(console.environment) as terminal:
        terminal.until_seen("old run")
        numbers = count()

        def is_shown() -> bool:
            # What ends before the console's first look is no news either: one of these is.
            end_job(console, f"night run {next(numbers)}")
            return DESKTOP.search(terminal.bytes) is not None

        terminal.until(is_shown)
        shown = [match[1].decode() for match in DESKTOP.finditer(terminal.bytes)]

    assert re.match(r"night run \d+: completed: It has ended well\.", shown[0])
    assert not any("old run" in words for words in shown)
    assert BELL in DESKTOP.sub(b"", terminal.bytes)


def test_it_can_be_switched_off(console: Console) -> None:
    end_job(console, "old run")
    assert console.run("notify", "terminal", "off")[0] == 0
    with Terminal(console.environment) as terminal:
        terminal.until_seen("old run")
        numbers = count()

        def is_listed() -> bool:
            end_job(console, f"night run {next(numbers)}")
            return "night run 30" in terminal.text

        terminal.until(is_listed)
    assert DESKTOP.search(terminal.bytes) is None
