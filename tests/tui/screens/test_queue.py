"""The line of waiting jobs in the console, with a real agent; only the trainer is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.local_console import Console

HOSTILE = "[red]x[/] \x1b]52;c;eA==\x07 the third"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """One job at work, and three that wait for it."""
    made = Console(tmp_path)
    made.start_agent()
    made.start("job-busy", "steps=5000 delay=0.05", "--name", "the busy one")
    for job_id, name in (("job-1", "the first"), ("job-2", "the second"), ("job-3", HOSTILE)):
        made.start(job_id, "steps=2", "--queue", "--name", name)
    yield made
    made.kill_agent()


def line_with(opened: ConsolePilot, words: str) -> str:
    return next((line for line in opened.text.splitlines() if words in line), "")


async def until_line(opened: ConsolePilot, words: str, activity: str) -> None:
    await opened.until(lambda: activity in line_with(opened, words))


async def test_keys_move_a_waiting_job_and_every_place_follows(console: Console) -> None:
    async with open_app(console, size=(150, 40)) as opened:
        for words, place in (("the first", 1), ("the second", 2), ("the third", 3)):
            await until_line(opened, words, f"queued {place} of 3")
        # The newest stands on top: the cursor is on the third.
        await opened.press("P")
        for words, place in (("the third", 1), ("the first", 2), ("the second", 3)):
            await until_line(opened, words, f"queued {place} of 3")
        await opened.press("right_square_bracket")
        await until_line(opened, "the third", "queued 2 of 3")
        await opened.press("left_square_bracket")
        await until_line(opened, "the third", "queued 1 of 3")
        assert opened.app.session is not None
        waiting = await opened.app.session.store.queue.waiting()
        assert [job.job_id for job in waiting] == ["job-3", "job-1", "job-2"]


async def test_the_keys_are_for_waiting_jobs_only_and_stand_in_the_help(console: Console) -> None:
    async with open_app(console, size=(150, 40)) as opened:
        await until_line(opened, "the first", "queued 1 of 3")
        await opened.press("question_mark")
        await opened.until_seen("Earlier", "Later", "Next one")
        await opened.press("question_mark", "down", "down", "down")
        await until_line(opened, "the busy one", "training")
        screen = opened.app.screen
        await opened.until(lambda: screen.check_action("to_the_front", ()) is False)
        await opened.press("P", "left_square_bracket")
        await until_line(opened, "the first", "queued 1 of 3")


async def test_a_turn_that_comes_and_a_job_that_is_cancelled_leave_the_line(
    console: Console,
) -> None:
    async with open_app(console, size=(150, 40)) as opened:
        await until_line(opened, "the third", "queued 3 of 3")
        assert await console.call("cancel", "job-1") == 0
        await until_line(opened, "the first", "cancelled")
        await until_line(opened, "the third", "queued 2 of 2")
        # The console gives turns itself: the next one begins once the busy one has ended.
        assert await console.call("cancel", "job-busy") == 0
        await until_line(opened, "the second", "completed")
        await until_line(opened, "the third", "completed")


async def test_a_waiting_job_can_be_looked_at(console: Console) -> None:
    async with open_app(console, size=(100, 30), job="job-2") as opened:
        await opened.until_seen("the second", "waiting for its turn")
