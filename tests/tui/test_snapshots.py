"""Every screen as a picture, at the size of an old terminal and of a usual one.

After a change that is meant: `scripts/test tests/tui/test_snapshots.py --snapshot-update`, and look
at the pictures in `tests/tui/__snapshots__/` before they are committed.
"""

from __future__ import annotations

import asyncio
import difflib
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from pytest_textual_snapshot import normalize_svg
from textual.pilot import Pilot

from shared.dataset.sample import SAMPLE_JSON
from tests.tui.console_pilot import ConsolePilot
from tests.tui.sample_home import fill
from tui.app import BrightRunApp
from tui.config import Config
from tui.screens.host_key import HostKeyScreen
from tui.screens.passphrase import PassphraseScreen

PICTURES = Path(__file__).parent / "__snapshots__"
_PATIENCE_S = 6.0
DONE = "20261120-0901-a1b2c3"
OUT_OF_MEMORY = "20261119-1633-0be991"
Prepare = Callable[[ConsolePilot], Awaitable[None]]
Compare = Callable[..., bool]


@pytest.fixture(params=[(80, 24), (120, 40)], ids=["80x24", "120x40"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    found: tuple[int, int] = request.param
    return found


@pytest.fixture
def snapshot_of(
    home: Path,
    tmp_path: Path,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    snap_compare: Compare,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[Prepare], bool]]:
    """Opens the console on the sample home, prepares a screen and compares its picture."""
    asyncio.run(fill(home))
    shutil.copy(SAMPLE_JSON, tmp_path / "sample.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # paths are the same everywhere
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    picture = PICTURES / request.path.stem / f"{request.node.name}.svg"
    expected = normalize_svg(picture.read_text()) if picture.exists() else ""

    def compare(prepare: Prepare) -> bool:
        app = BrightRunApp(Config(home, home / "agent"))

        async def run_before(pilot: Pilot[None]) -> None:
            opened = ConsolePilot(app, pilot)
            await opened.until(lambda: len(app.news) == 3)
            await prepare(opened)
            await _settled(opened, expected)

        return snap_compare(app, terminal_size=size, run_before=run_before)

    yield compare
    monkeypatch.undo()
    time.tzset()


async def _settled(opened: ConsolePilot, expected: str) -> None:
    """Until the screen looks as it should, or as long as anything may draw late on a busy machine.

    What differs then is printed, since the report of the plugin stays on the machine of the test.
    """
    deadline = time.monotonic() + (_PATIENCE_S if expected else 1.5)
    while (seen := _picture_of(opened)) != expected:
        if time.monotonic() > deadline:
            lines = difflib.unified_diff(expected.splitlines(), seen.splitlines(), n=0)
            print("\n".join(line[:400] for line in list(lines)[:60]))
            return
        await opened.pilot.pause(0.05)


def _picture_of(opened: ConsolePilot) -> str:
    """As the plugin takes it: else the same screen is spelled otherwise."""
    return normalize_svg(opened.app.export_screenshot(simplify=True))


async def nothing(opened: ConsolePilot) -> None:
    await opened.until_seen("✓ completed")


async def job(opened: ConsolePilot) -> None:
    opened.app.open_job(opened.app.news[DONE].job)
    await opened.until(lambda: opened.job_screen.history)
    await opened.until_seen("smoothed", "resumed")


async def grad_norm(opened: ConsolePilot) -> None:
    await job(opened)
    await opened.press("m", "l")
    await opened.until_gone("smoothed")


async def events(opened: ConsolePilot) -> None:
    await job(opened)
    await opened.press("2")
    await opened.until_seen("adapter loads and generates")


async def settings(opened: ConsolePilot) -> None:
    await job(opened)
    await opened.press("5")
    await opened.until_seen("Meta-Llama-3-70B-Instruct")


async def retry(opened: ConsolePilot) -> None:
    await job(opened)
    await opened.press("r")
    await opened.until_seen("A new job with the same settings")


async def suggested(opened: ConsolePilot) -> None:
    opened.app.open_job(opened.app.news[OUT_OF_MEMORY].job)
    await opened.until_seen("r: max_seq_length 4096")
    await opened.press("r")
    await opened.until_seen("A GPU with more memory")


async def fetch(opened: ConsolePilot) -> None:
    await job(opened)
    await opened.press("f")
    await opened.until_seen("Fetch the adapter")
    opened.app.screen.set_focus(None)


async def new_job(opened: ConsolePilot) -> None:
    await opened.press("n")
    await opened.until_seen("New job")
    await opened.press(*"sample.json")
    await opened.until_seen("ready to review")
    opened.app.screen.set_focus(None)


async def review(opened: ConsolePilot) -> None:
    await new_job(opened)
    await opened.press("ctrl+s")
    await opened.until_seen("sha256")


async def machines(opened: ConsolePilot) -> None:
    await opened.press("h")
    await opened.until_seen("no agent yet")


async def datasets(opened: ConsolePilot) -> None:
    await opened.press("d")
    await opened.until_seen("EQ-12.json")


async def dataset(opened: ConsolePilot) -> None:
    await datasets(opened)
    await opened.press("enter")
    await opened.until_seen("conversations    28")


async def host_key(opened: ConsolePilot) -> None:
    fingerprint = "SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s"
    await opened.app.push_screen(HostKeyScreen("ssh:me@gpu:2222", "ssh-ed25519", fingerprint))
    await opened.until_seen(fingerprint)


async def passphrase(opened: ConsolePilot) -> None:
    await opened.app.push_screen(PassphraseScreen("/home/me/.ssh/id_ed25519"))
    await opened.until_seen("Passphrase of")
    opened.app.screen.set_focus(None)


async def help_panel(opened: ConsolePilot) -> None:
    await opened.press("question_mark")
    await opened.until_seen("Every job")


@pytest.mark.parametrize(
    "prepare",
    [
        nothing,
        job,
        grad_norm,
        events,
        settings,
        retry,
        suggested,
        fetch,
        new_job,
        review,
        machines,
        datasets,
        dataset,
        host_key,
        passphrase,
        help_panel,
    ],
    ids=lambda prepare: prepare.__name__ if prepare is not nothing else "jobs",
)
def test_the_screen_looks_as_before(
    snapshot_of: Callable[[Prepare], bool], prepare: Prepare
) -> None:
    assert snapshot_of(prepare)
