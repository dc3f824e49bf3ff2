from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import StoreError
from tests.tui.pty_process import PtyProcess
from tui import console
from tui.config import Config
from tui.demo import DemoOptions

SCRIPT = Path(__file__).with_name("stand_in_console.py")
OPEN = "import sys; from tui.console import open_console; code = open_console(); "
OPEN += "assert 'textual' not in sys.modules; sys.exit(code)"
HEADLESS = "Headless: brightrun jobs, brightrun watch JOB, brightrun --help."


def open_stand_in(mode: str, home: Path) -> PtyProcess:
    root = Path(__file__).parents[2]
    return PtyProcess(
        SCRIPT,
        mode,
        BRIGHTRUN_HOME=str(home),
        PLANTED_TOKEN="sesame-environment",
        PYTHONPATH=str(root),
    )


def test_a_pipe_instead_of_a_terminal_is_one_line(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"brightrun: the console needs a terminal (stdin is not one). {HEADLESS}\n"
    )
    assert not home.exists()


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_each_stream_has_to_be_a_terminal(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getattr(sys, name), "isatty", lambda: False, raising=False)
    monkeypatch.setenv("TERM", "xterm")

    assert console.open_console() == 2
    assert f"({name} is not one)" in capsys.readouterr().err
    assert not home.exists()


@pytest.mark.parametrize(("term", "said"), [("dumb", "TERM is dumb"), ("", "TERM is not set")])
def test_a_terminal_that_cannot_place_text_is_one_line(
    term: str, said: str, home: Path, tmp_path: Path
) -> None:
    script = tmp_path / "open.py"
    script.write_text(OPEN)
    with PtyProcess(
        script, TERM=term, BRIGHTRUN_HOME=str(home), PYTHONPATH=str(SCRIPT.parents[2])
    ) as process:
        assert process.wait() == 2
    assert process.output == f"brightrun: the console needs a terminal ({said}). {HEADLESS}\r\n"


def test_the_app_decides_about_the_exit_code(home: Path) -> None:
    with open_stand_in("exit", home) as process:
        assert process.wait() == 7
        assert process.is_restored
    assert process.last_words == ""
    assert not home.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_app_and_restores_the_terminal(
    number: signal.Signals, home: Path
) -> None:
    with open_stand_in("wait", home) as process:
        process.read_until("READY")
        process.send_signal(number)
        assert process.wait() == 128 + number
        assert process.is_restored
    assert process.last_words == ""
    assert not (home / "crashes").exists()


@pytest.mark.parametrize("mode", ["stuck", "held-up"])
def test_a_signal_ends_an_app_that_cannot_end_itself(mode: str, home: Path) -> None:
    with open_stand_in(mode, home) as process:
        process.read_until("READY" if mode == "stuck" else "\x1b[?1049l")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
        assert process.is_restored


@pytest.mark.parametrize("mode", ["wait", "stuck"])
def test_a_lost_terminal_ends_the_process(mode: str, home: Path) -> None:
    with open_stand_in(mode, home) as process:
        process.read_until("READY")
        process.hang_up()
        assert process.wait() == 129


def test_nothing_that_libraries_write_reaches_the_screen(home: Path) -> None:
    with open_stand_in("stray", home) as process:
        assert process.wait() == 0
    assert "READY" in process.output
    assert "STRAY" not in process.output

    path = home / "console.log"
    log = path.read_text()
    for text in (
        "descriptor [redacted]",
        "child",
        "record [redacted]",
        "warning",
        "thread",
        "task",
    ):
        assert f"STRAY {text}" in log
    assert "sesame" not in log.replace('planted_local = "sesame-local"', "")
    assert path.stat().st_mode & 0o777 == 0o600


class FakeApp:
    """As much of an App as `open_console` uses."""

    is_headless = False
    _loop = None
    _driver = None

    def __init__(self, run: Callable[[], None], return_code: int | None = None) -> None:
        self.run = run
        self.return_code = return_code


@pytest.fixture
def open_with(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], None]], list[object]]:
    """Opens the console of this process on an app that runs this; returns what it was given."""

    def open_with(run: Callable[[], None]) -> list[object]:
        given: list[object] = []

        def make(config: Config, *, job: str | None, demo: DemoOptions | None) -> FakeApp:
            given.extend([config, job, demo])
            return FakeApp(run)

        module = types.ModuleType("tui.app")
        monkeypatch.setattr(module, "BrightRunApp", make, raising=False)
        monkeypatch.setitem(sys.modules, "tui.app", module)
        monkeypatch.setattr(console, "_trouble_with_terminal", lambda: None)
        given.append(console.open_console("job-1", demo=DemoOptions(Path("x"))))
        return given

    return open_with


Open = Callable[[Callable[[], None]], list[object]]


def test_the_app_is_given_the_job_and_the_demo(open_with: Open, home: Path) -> None:
    config = Config(home, home / "agent")
    assert open_with(lambda: None) == [config, "job-1", DemoOptions(Path("x")), 0]


def _state() -> list[object]:
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    return [
        [*logging.getLogger().handlers],
        *(sys.stderr, sys.__stderr__, sys.unraisablehook, threading.excepthook),
        *(warnings.showwarning, os.fstat(2)[1:3], signal.set_wakeup_fd(-1)),
        *map(signal.getsignal, numbers),
        threading.active_count(),
        len(os.listdir("/proc/self/fd")),
    ]


def test_afterwards_everything_is_as_it_was(open_with: Open, home: Path) -> None:
    before = _state()

    def run() -> None:
        assert _state()[0] != before[0]
        logging.getLogger("x").warning("kept")
        raise RuntimeError("outside the app")

    assert open_with(run)[-1] == 1
    # A thread of an earlier test may come or go meanwhile.
    deadline = time.monotonic() + 10
    while (after := _state()) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert after == before
    assert "kept" in (home / "console.log").read_text()


def test_an_error_outside_the_app_is_reported_alike(
    open_with: Open, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        raise RuntimeError("outside the app")

    assert open_with(run)[-1] == 1
    (report,) = (home / "crashes").iterdir()
    assert capsys.readouterr().err == (
        "brightrun stopped: RuntimeError: outside the app\n"
        f"The report is in {report}\n"
        "Your jobs go on; `brightrun` shows them again.\n"
    )


def test_an_expected_error_is_left_to_the_command_line(open_with: Open, home: Path) -> None:
    def run() -> None:
        raise StoreError("locked")

    with pytest.raises(StoreError):
        open_with(run)
    assert not (home / "crashes").exists()


def test_an_interrupt_is_not_a_crash(open_with: Open, home: Path) -> None:
    def run() -> None:
        raise KeyboardInterrupt

    assert open_with(run)[-1] == 130
    assert not (home / "crashes").exists()


def test_the_log_is_bounded(open_with: Open, home: Path) -> None:
    def run() -> None:
        for number in range(300):
            logging.getLogger("chatty").error("%d %s", number, "x" * 8000)

    open_with(run)

    sizes = [path.stat().st_size for path in home.glob("console.log*")]
    assert len(sizes) == 2
    assert sum(sizes) <= 1_000_000
    assert {path.stat().st_mode & 0o777 for path in home.glob("console.log*")} == {0o600}


def test_a_log_that_cannot_be_written_stops_nothing(
    open_with: Open, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home.write_text("a file where the directory should be")

    def run() -> None:
        logging.getLogger("x").error("lost")

    assert open_with(run)[-1] == 0
    assert capfd.readouterr() == ("", "")
