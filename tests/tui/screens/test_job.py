"""The screen of one job, on a real agent with a stand-in trainer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import DataTable, Input

from shared.lifecycle import JobStatus
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.local_console import Console
from tui.screens.cancel import CancelScreen
from tui.screens.fetch import FetchScreen
from tui.widgets.loss_chart import LossChart

LONG = "steps=2000 delay=0.05"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = Console(tmp_path_factory.mktemp("job"))
    made.start_agent()
    made.start("job-done", "steps=6", "--name", "the done one")
    made.run("watch", "job-done")
    made.start("job-torn", "steps=6 at=5 dies=kill", "--name", "the torn one")
    made.run("watch", "job-torn")
    yield made
    made.kill_agent()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Console]:
    """A console and an agent that a test may kill."""
    made = Console(tmp_path)
    made.start_agent()
    yield made
    if made.agent.poll() is None:
        made.kill_agent()
    elif made.agent_pid() not in (None, made.agent.pid):
        made.end_detached_agent()


def status(opened: ConsolePilot, job_id: str) -> JobStatus:
    return opened.app.news[job_id].job.status


async def test_a_finished_job_shows_its_figures_curves_and_stages(console: Console) -> None:
    async with open_app(console, job="job-done") as opened:
        await opened.until_seen(
            "the done one", "✓ completed", "step 6/6", "✓ prepare", "✓ train", "smoothed"
        )
        await opened.until_seen("learning rate", "grad norm", "tokens/s", "perplexity", "in all")


async def test_an_interruption_is_marked_and_the_curve_is_that_of_the_latest_attempt(
    console: Console,
) -> None:
    async with open_app(console, job="job-torn") as opened:
        await opened.until_seen("the torn one", "attempt 2", "resumed", "step 6/6")
        await opened.press("2")
        await opened.until_seen("attempt ended: trainer_killed", "resumed after step 4")


async def test_a_living_job_moves_by_itself_and_is_cancelled_with_a_reason(
    console: Console,
) -> None:
    await console.start_beside("job-long", LONG, "the long one")
    async with open_app(console, job="job-long") as opened:
        await opened.until_seen("● training", "ETA", "so far")
        step = opened.app.news["job-long"].job.state.step
        await opened.until(lambda: opened.app.news["job-long"].job.state.step > step + 5)

        await opened.press("c")
        await opened.until(lambda: isinstance(opened.app.screen, CancelScreen))
        await opened.until_seen("Cancel “the long one”", "saves a checkpoint")
        await opened.press("escape")
        await opened.until_gone("Cancel “the long one”")
        assert not status(opened, "job-long").is_final

        await opened.press("c", *"[/b] enough")
        await opened.until_seen("[/b] enough")
        await opened.click("#cancel")
        await opened.until(lambda: status(opened, "job-long") is JobStatus.CANCELLED)
        await opened.until_seen("– cancelled")
        await opened.press("2")
        await opened.until_seen("cancel requested: [/b] enough")


async def test_quitting_leaves_the_job_running_and_a_new_console_has_all_of_it(
    console: Console,
) -> None:
    await console.start_beside("job-left", "steps=60 delay=0.05", "the left one")
    async with open_app(console, job="job-left") as opened:
        await opened.until(lambda: opened.app.news["job-left"].job.state.step > 3)
        await opened.press("q")
    async with open_app(console, job="job-left") as opened:
        await opened.until_seen("✓ completed")
        history = opened.job_screen.history
        assert history is not None
        assert history.curves.loss.steps == list(range(1, 61))


async def test_retry_asks_and_opens_the_new_job(console: Console) -> None:
    async with open_app(console, job="job-done") as opened:
        await opened.until_seen("✓ completed")
        await opened.press("r")
        await opened.until_seen("Start “the done one” again?")
        await opened.press("y")
        await opened.until(lambda: opened.job_screen.chosen_job().job_id != "job-done")
        again = opened.job_screen.chosen_job()
        assert again.retry_of == "job-done"
        await opened.until(lambda: again.job_id in opened.app.news)
        await opened.until(lambda: status(opened, again.job_id) is JobStatus.COMPLETED)


async def test_the_adapter_comes_home_and_is_listed(console: Console, tmp_path: Path) -> None:
    async with open_app(console, job="job-done") as opened:
        await opened.press("4")
        await opened.until_seen("adapter/manifest.json")
        assert opened.app.screen.query_one(DataTable).row_count >= 2
        await opened.press("f")
        await opened.until(lambda: isinstance(opened.app.screen, FetchScreen))
        opened.app.screen.query_one("#directory", Input).value = str(tmp_path / "here")
        await opened.press("enter")
        await opened.until_seen("every hash holds")
    assert (tmp_path / "here" / "job-done" / "adapter" / "manifest.json").is_file()


async def test_a_place_that_cannot_be_written_is_said_and_can_be_changed(
    console: Console, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    async with open_app(console, job="job-done") as opened:
        await opened.until_seen("f Fetch")
        await opened.press("f")
        opened.app.screen.query_one("#directory", Input).value = str(tmp_path / "file")
        await opened.press("enter")
        await opened.until_seen("cannot be written")
        assert not opened.app.screen.query_one("#directory", Input).disabled


async def test_the_settings_are_those_that_were_asked_for(console: Console) -> None:
    async with open_app(console, job="job-done", size=(120, 60)) as opened:
        await opened.press("5")
        await opened.until_seen("learning_rate", "0.0002", "balanced", "train.json", "no")
        sha256 = opened.job_screen.chosen_job().spec.dataset.sha256
        assert sha256 in opened.text


async def test_the_keys_of_a_log_are_at_hand_once_its_tab_is_shown(console: Console) -> None:
    async with open_app(console, job="job-torn") as opened:
        await opened.press("2")
        await opened.until_seen("following", "resumed after step 4")
        await opened.press("space")
        await opened.until_seen("paused")
        await opened.press("slash", *"resumed")
        await opened.until_seen("1/1 match")


async def test_the_trainers_log_is_shown(console: Console) -> None:
    async with open_app(console, job="job-done") as opened:
        await opened.press("3")
        await opened.until_seen("the stand-in trainer écrit")


async def test_the_chart_changes_its_quantity_scale_and_window(console: Console) -> None:
    async with open_app(console, job="job-done") as opened:
        await opened.until_seen("smoothed")
        chart = opened.job_screen.query_one(LossChart)
        for key in "mlsz":
            await opened.press(key)
        assert (chart.quantity, chart.log_scale, chart.window) == ("grad_norm", True, 50)
        await opened.until_seen("grad norm")
        for key in "mm":
            await opened.press(key)
        assert chart.quantity == "loss"


async def test_an_agent_that_is_gone_is_shown_as_unreachable_and_comes_back(
    own: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.services.mirror._WATCH_PATIENCE_S", 0.3)
    await own.start_beside("job-away", LONG, "the one away")
    address = own.root / "agent.json"
    async with open_app(own, job="job-away") as opened:
        await opened.until(lambda: opened.app.news["job-away"].job.state.step > 3)
        # With its root unwritable no other agent can be brought up, as on a host that is down.
        saved = json.loads(address.read_text())
        own.kill_agent()
        monkeypatch.setattr("tui.services.hosts.local.sys.executable", "/bin/false")
        await opened.until_seen("unreachable since", "last known")
        step = opened.app.news["job-away"].job.state.step
        assert f"step {step}/2000" in opened.text
        await opened.press("escape")
        await opened.until_seen("unreachable", "the one away")

        monkeypatch.undo()
        await opened.until_gone("unreachable")
        await opened.until(lambda: opened.app.news["job-away"].job.state.step > step)
        assert saved["pid"] != json.loads(address.read_text())["pid"]
    assert await own.call("cancel", "job-away") == 0
    async with asyncio.timeout(20):
        while await own.call("watch", "job-away") != 3:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("size", [(20, 5), (80, 24), (200, 60)])
async def test_every_tab_survives_any_size(console: Console, size: tuple[int, int]) -> None:
    async with open_app(console, size, job="job-torn") as opened:
        await opened.until(lambda: opened.app.screen.query("#header"))
        for key in "12345":
            await opened.press(key)
            await opened.pilot.resize_terminal(31, 9)
            await opened.pilot.resize_terminal(*size)
        await opened.press("1")
