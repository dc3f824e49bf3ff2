"""A person at a terminal: start a job, watch its loss, resize, leave, come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.terminal import Terminal
from tests.tui.local_console import Console

ESCAPE, CTRL_S, TAB = "\x1b", "\x13", "\t"
LEFT_ALTERNATE_SCREEN = b"\x1b[?1049l"
CLIPBOARD = b"\x1b]52"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.start_agent()
    yield made
    made.kill_agent()


def step_on(terminal: Terminal) -> int:
    found = re.search(r"step (\d+)/", terminal.text)
    return int(found[1]) if found else 0


def field_on(terminal: Terminal) -> str:
    """The field of the form that the help line speaks of."""
    found = re.search(r"─{40}.*\n *(\w+)  ", terminal.text)
    return found[1] if found else ""


def test_a_job_is_started_watched_left_and_found_again(console: Console) -> None:
    with Terminal(console.environment) as terminal:
        terminal.until_seen("brightrun", "No jobs yet")
        terminal.press("n")
        terminal.until_seen("New job", "dataset")
        terminal.press(str(console.dataset))
        terminal.until_seen("ready to review")
        while (field := field_on(terminal)) != "notes":
            terminal.press(TAB)
            terminal.until(lambda field=field: field_on(terminal) != field)  # type: ignore[misc]
        terminal.press("steps=100000 delay=0.1")
        terminal.until_seen("steps=100000 delay=0.1")
        terminal.press(CTRL_S)
        terminal.until_seen("Start this job?")
        terminal.press("\r")
        terminal.until_seen("training", "smoothed", "learning rate", "tokens/s")
        first = step_on(terminal)
        terminal.until(lambda: step_on(terminal) > first + 5)

        terminal.resize(80, 24)
        terminal.until_seen("smoothed", "q Quit", "grad norm")
        later = step_on(terminal)
        terminal.until(lambda: step_on(terminal) > later)
        terminal.press("q")
        assert terminal.until_gone() == 0
    assert terminal.bytes.count(LEFT_ALTERNATE_SCREEN) == 1
    assert CLIPBOARD not in terminal.bytes

    with Terminal(console.environment, columns=100, lines=30) as terminal:
        terminal.until_seen("1 active", "training")
        terminal.press("\r")
        terminal.until_seen("smoothed", "ETA")
        terminal.until(lambda: step_on(terminal) > later + 5)
        terminal.press("c")
        terminal.until_seen("Cancel “", "reason")
        terminal.press("seen enough\r")
        terminal.until_seen("– cancelled", "in all")
        terminal.press(ESCAPE)
        terminal.until_seen("1 jobs", "cancelled 1")
        terminal.press("q")
        assert terminal.until_gone() == 0
