"""Times the full-screen console: its first paint, memory, a long table, the chart, a loaded loop.

    python scripts/bench_console.py [start] [chart] [loop] [--seconds 15]

- start: `brightrun` on a terminal of its own with an empty home and with one of 1,000 jobs, beside a
  minimal Textual app; time from the spawn to the words on the terminal, and resident memory.
- chart: `LossChart` redrawn after one new point, beside plotext given every point.
- loop: how late the console's event loop is while four jobs train, with one of them on the screen,
  beside a console without jobs, and beside a loop that does nothing in the same seconds.

All jobs, homes and processes are its own and end with it; the trainers are the tests' stand-ins.
Ratios within one run are what counts: on a shared machine milliseconds drift. Goals are printed for
information and never asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import multiprocessing
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from types import TracebackType

from textual.app import App, ComposeResult
from textual_plotext.plot import Plot

import tui.app
from agent.launch import read_shim
from agent.process import send_signal, send_signal_to_group
from agent.run_directory import AgentRoot, AttemptDirectory
from shared.events import utc_now
from shared.job_state import JobState
from shared.store.store import open_store
from tests.shared.store.journal import completed_job, job_spec
from tests.tui.local_console import Console
from tui.app import BrightRunApp
from tui.config import Config
from tui.screens.job import JobScreen
from tui.services.jobs import cancel_job
from tui.views.curves import TrainingCurves
from tui.widgets.loss_chart import LossChart

COLUMNS, LINES = 120, 40
DEADLINE_S = 60.0

CONSOLE = "from tui.cli import main; main()"
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("READY")
Minimal().run()
"""
STARTS = 7
MEMORY_STARTS = 3
SETTLED_S = 3.0
"""By then the console has loaded its services and read the store."""
STORED_JOBS = 1000
NEWEST = "the newest job"

POINTS = (1_000, 100_000, 1_000_000)
RAW_POINTS = 10_000
DRAWINGS = 10

LIVE_JOBS = 4
LIVE_JOB_IDS = tuple(f"job-live-{number}" for number in range(1, LIVE_JOBS + 1))
LIVE = "steps=100000 delay=0.05"
"""Almost 20 steps a second, and a checkpoint at every other one."""
METRICS = '"kind":"metrics"'
STYLES = Path(tui.app.__file__).with_name("app.tcss")
NAP_S = 0.005
LOOK_S = 0.25

Naps = list[float]
"""Seconds by which each nap was too long."""


@dataclass(frozen=True)
class Row:
    """One line of the table; `beside` is what the figure is compared with in the same run."""

    measure: str
    figure: float
    unit: str
    beside: float | None = None
    beside_name: str = ""
    goal: str = ""


def main() -> None:
    """Measure what is asked for, all by default, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", nargs="*", help="start, chart, loop (default: all)")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each console with a loop")
    options = parser.parse_args()
    parts: dict[str, Callable[[], list[Row]]] = {
        "start": measure_starts,
        "chart": lambda: asyncio.run(measure_chart()),
        "loop": lambda: measure_loop(options.seconds),
    }
    if unknown := set(options.part) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    # A time limit from outside must not leave an agent and its trainers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print_table([row for part in options.part or parts for row in parts[part]()])


def print_table(rows: list[Row]) -> None:
    """Each figure, what it is compared with, and their ratio."""
    print(f"{'measure':46}{'figure':>11}   {'beside':32}{'':>11}{'ratio':>9}   goal (information)")
    for row in rows:
        line = f"{row.measure:46}{shown(row.figure, row.unit):>11}   "
        if row.beside is None:
            line += " " * 52
        else:
            ratio = f"{row.figure / row.beside:.2f}x" if row.beside else "-"
            line += f"{row.beside_name:32}{shown(row.beside, row.unit):>11}{ratio:>9}"
        print(f"{line}   {row.goal}".rstrip())


def shown(value: float, unit: str) -> str:
    """A figure with its unit, as many digits as mean anything."""
    return f"{value:,.1f} {unit}" if value < 100 and unit else f"{value:,.0f} {unit}".rstrip()


# --- start: first paint, a long table, memory -------------------------------------------------


class Terminal:
    """A Python process on a terminal of its own, killed with the block."""

    def __init__(self, code: str, home: Path) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        places = {"BRIGHTRUN_HOME": str(home), "BRIGHTRUN_AGENT_ROOT": str(home / "agent")}
        self._output = b""
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **places},
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def ms_until(self, words: str) -> float:
        """From the spawn to these words on the terminal."""
        while words.encode() not in self._output:
            self._read(self._began + DEADLINE_S)
            if time.perf_counter() > self._began + DEADLINE_S:
                raise SystemExit(f"{words!r} did not come: {self._output[-2000:]!r}")
        return (time.perf_counter() - self._began) * 1000

    def settle(self) -> None:
        """Let it work on for `SETTLED_S`."""
        end = time.perf_counter() + SETTLED_S
        while time.perf_counter() < end:
            self._read(end)

    def resident_mb(self) -> float:
        """VmRSS in 10^6 bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024 / 1e6

    def _read(self, until: float) -> None:
        left = max(until - time.perf_counter(), 0.0)
        if select.select([self._master], [], [], left)[0]:
            self._output += os.read(self._master, 65_536)


@dataclass(frozen=True)
class Start:
    """A program, its home, and the words that tell that it has painted."""

    code: str
    home: Path
    words: str


def measure_starts() -> list[Row]:
    """In turns, so that a slow minute of the machine is everybody's."""
    with TemporaryDirectory(prefix="brightrun-bench-") as folder:
        empty, full = Path(folder) / "empty", Path(folder) / "full"
        asyncio.run(fill(full, STORED_JOBS))
        starts = {
            "minimal": Start(MINIMAL, empty, "READY"),
            "console": Start(CONSOLE, empty, "NAME"),
            "jobs": Start(CONSOLE, full, NEWEST),
        }
        times: dict[str, list[float]] = {name: [] for name in starts}
        for turn in range(STARTS + 1):
            for name, start in starts.items():
                with Terminal(start.code, start.home) as terminal:
                    ms = terminal.ms_until(start.words)
                if turn:  # The first makes the files' caches warm, and the empty home's database.
                    times[name].append(ms)
        memory = {name: memory_of(starts[name]) for name in ("minimal", "console", "jobs")}
    paint = {name: median(values) for name, values in times.items()}
    minimal = "minimal Textual app"
    return [
        Row("first paint", paint["console"], "ms", paint["minimal"], minimal, "< 700 ms"),
        Row(
            f"{STORED_JOBS:,} jobs: first name",
            paint["jobs"],
            "ms",
            paint["minimal"],
            minimal,
            "< 1,600 ms",
        ),
        *(
            Row(
                f"{what}: memory {when}",
                memory[name][index],
                "MB",
                memory["minimal"][index],
                minimal,
                goal,
            )
            for name, what in (("console", "empty home"), ("jobs", f"{STORED_JOBS:,} jobs"))
            for index, (when, goal) in enumerate(
                [("at that paint", "< 70 MB"), (f"{SETTLED_S:.0f} s later", "")]
            )
            if name == "console" or index
        ),
    ]


def memory_of(start: Start) -> tuple[float, float]:
    """Megabytes at the paint, and once everything is loaded."""
    painted, settled = [], []
    for _ in range(MEMORY_STARTS):
        with Terminal(start.code, start.home) as terminal:
            terminal.ms_until(start.words)
            painted.append(terminal.resident_mb())
            terminal.settle()
            settled.append(terminal.resident_mb())
    return median(painted), median(settled)


async def fill(home: Path, jobs: int) -> None:
    """A store of jobs that have ended: looking at them starts nothing."""
    async with open_store(home / "brightrun.db") as store:
        for number in range(1, jobs + 1):
            job_id = f"job-{number:06}"
            name = NEWEST if number == jobs else f"job number {number}"
            await store.add_job(job_spec(job_id, name=name), "local")
            await store.apply_records(job_id, completed_job(steps=3, job_id=job_id))


# --- chart ------------------------------------------------------------------------------------


class ChartApp(App[None]):
    """One chart that fills the screen."""

    def compose(self) -> ComposeResult:
        yield LossChart()


async def measure_chart() -> list[Row]:
    """In turns again; each drawing follows one new point, as in a living job."""
    trainings = {points: training(points) for points in POINTS}
    times: dict[int, list[float]] = {points: [] for points in POINTS}
    app = ChartApp()
    async with app.run_test(size=(COLUMNS, LINES)) as pilot:
        chart = app.query_one(LossChart)
        for turn in range(DRAWINGS + 1):
            for points, curves in trainings.items():
                chart.show(curves)
                await pilot.pause()
                ms = redraw_ms(chart, curves)
                if turn:  # At first a long curve is smoothed and decimated from its beginning.
                    times[points].append(ms)
    ours = {points: median(values) for points, values in times.items()}
    raw = median(plotext_ms(training(RAW_POINTS)) for _ in range(3))
    shortest = POINTS[0]
    beside = f"with {shortest:,} points"
    return [
        *(
            Row(f"chart redrawn, {n:,} points", ours[n], "ms", ours[shortest], beside, "< 50 ms")
            for n in POINTS
        ),
        Row(f"plotext, {RAW_POINTS:,} raw points", raw, "ms", ours[shortest], f"chart {beside}"),
    ]


def training(points: int) -> TrainingCurves:
    """A noisy loss that falls."""
    chance = random.Random(3)
    curves = TrainingCurves()
    for step in range(1, points + 1):
        curves.loss.put(step, 1 + 7 * points / (points + 9 * step) + chance.gauss(0, 0.2))
    curves.version += 1
    return curves


def redraw_ms(chart: LossChart, curves: TrainingCurves) -> float:
    """From a new point to the lines that the screen takes; what is sent is not in it."""
    curves.version += curves.loss.put(curves.loss.steps[-1] + 1, 1.5)
    drawings, began = chart.drawings, time.perf_counter()
    chart.look_for_news()
    chart.render_lines(chart.size.region)
    assert chart.drawings == drawings + 1
    return (time.perf_counter() - began) * 1000


def plotext_ms(curves: TrainingCurves) -> float:
    """Every point to plotext: the same axes and size, and nothing but one curve."""
    plot = Plot()
    began = time.perf_counter()
    plot._set_size(COLUMNS, LINES)
    plot.plot(curves.loss.steps, curves.loss.values, marker="braille")
    plot.build()
    return (time.perf_counter() - began) * 1000


# --- loop -------------------------------------------------------------------------------------


class DrawnApp(BrightRunApp):
    """Makes what a terminal would be sent, too; the headless driver then drops it."""

    CSS_PATH = STYLES

    @property
    def is_headless(self) -> bool:
        return False


@dataclass(frozen=True)
class Loaded:
    """What was seen of a console with live jobs."""

    naps: Naps
    ages_s: list[float]
    """How old the newest figures of the jobs were, looked at again and again."""
    steps_a_second: float
    steps_written: int
    """By all trainers, in their own files."""
    steps_stored: int
    journal_lines: int
    """Of the job whose screen was open."""
    records_on_screen: int


def measure_loop(seconds: float) -> list[Row]:
    """The idle console first; a loop in another process tells what the machine itself adds."""
    # Spawned, not forked: this process has threads.
    with multiprocessing.get_context("spawn").Pool(1) as pool, TemporaryDirectory() as folder:
        pool.apply(bare_naps, (0.1,))
        quiet = asyncio.run(naps_without_jobs(Path(folder), seconds))
        with live_jobs(Path(folder)) as console:
            bare = pool.apply_async(bare_naps, (seconds,))
            live = asyncio.run(naps_with_live_jobs(console, seconds))
        return loop_rows(live, quiet, bare.get(DEADLINE_S))


def loop_rows(live: Loaded, quiet: Naps, bare: Naps) -> list[Row]:
    """How late each loop was, and whether all that the trainers wrote has arrived."""
    under_load = f"{LIVE_JOBS} live jobs"
    rows = [Row(f"steps a second, {under_load}", live.steps_a_second, "")]
    for name, of, goal in (("p50", median, ""), ("p95", p95, "< 50 ms"), ("worst", max, "")):
        late = of(live.naps) * 1000
        measure = f"loop late, {under_load}, {name}"
        rows.append(Row(measure, late, "ms", of(quiet) * 1000, "console without jobs", goal))
        rows.append(Row("", late, "ms", of(bare) * 1000, "bare loop in the same seconds"))
    for name, of, _ in (("p50", median, ""), ("worst", max, "")):
        rows.append(Row(f"age of the newest figures, {name}", of(live.ages_s) * 1000, "ms"))
    return [
        *rows,
        Row("steps in the store", live.steps_stored, "", live.steps_written, "written by trainers"),
        Row(
            "records on the screen",
            live.records_on_screen,
            "",
            live.journal_lines,
            "in the journal",
        ),
    ]


def p95(values: Naps) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20)[-1]


async def take_naps(seconds: float) -> Naps:
    """How much too long each of many short naps is: for so long a key would wait, too."""
    end = time.perf_counter() + seconds
    overshoots = []
    while (began := time.perf_counter()) < end:
        await asyncio.sleep(NAP_S)
        overshoots.append(time.perf_counter() - began - NAP_S)
    return overshoots


def bare_naps(seconds: float) -> Naps:
    """The same in a loop that does nothing else."""
    return asyncio.run(take_naps(seconds))


async def naps_without_jobs(folder: Path, seconds: float) -> Naps:
    """A console on an empty home."""
    app = DrawnApp(Config(folder / "empty", folder / "empty" / "agent"))
    async with app.run_test(size=(COLUMNS, LINES)):
        await until(lambda: app.session is not None)
        await asyncio.sleep(1)  # What is done once at the start is not meant.
        return await take_naps(seconds)


async def naps_with_live_jobs(console: Console, seconds: float) -> Loaded:
    """A console that follows all live jobs and shows one of them; it cancels them in the end."""
    shown, *_ = LIVE_JOB_IDS
    app = DrawnApp(Config(console.home, console.root), job=shown)
    async with app.run_test(size=(COLUMNS, LINES)):
        await until(lambda: sum(state.step > 0 for state in states(app)) == LIVE_JOBS)
        await until(lambda: isinstance(app.screen, JobScreen) and app.screen.history is not None)
        await asyncio.sleep(1)
        before = sum(state.step for state in states(app))
        naps, ages_s = await asyncio.gather(take_naps(seconds), ages_of_figures(app, seconds))
        steps_a_second = (sum(state.step for state in states(app)) - before) / seconds
        steps_stored = await cancel_all(app)
        assert isinstance(app.screen, JobScreen) and app.screen.history is not None
        history = app.screen.history
    written = [attempt_of(console, job_id).trainer_events_path for job_id in LIVE_JOB_IDS]
    return Loaded(
        naps=naps,
        ages_s=ages_s,
        steps_a_second=steps_a_second,
        steps_written=sum(path.read_text().count(METRICS) for path in written),
        steps_stored=steps_stored,
        journal_lines=attempt_of(console, shown).journal_path.read_bytes().count(b"\n"),
        records_on_screen=len(history.curves.loss.steps) + len(history.events),
    )


def states(app: BrightRunApp) -> list[JobState]:
    """The jobs as the console knows them."""
    return [news.job.state for news in app.news.values()]


async def ages_of_figures(app: BrightRunApp, seconds: float) -> list[float]:
    """Seconds from when the newest record of a job was written to now, again and again."""
    ages = []
    for _ in range(int(seconds / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        times = [state.last_event_at for state in states(app)]
        ages += [(utc_now() - at).total_seconds() for at in times if at is not None]
    return ages


async def cancel_all(app: BrightRunApp) -> int:
    """End the jobs as a user does; returns how many steps the store then has of them."""
    session = app.session
    assert session is not None
    for news in list(app.news.values()):
        await cancel_job(session, news.job, "measured")
    await until(lambda: all(state.status.is_final for state in states(app)))
    await asyncio.sleep(1)  # The screen hears of it at the next turn.
    return sum([len(await session.store.metrics(job_id)) for job_id in LIVE_JOB_IDS])


async def until(condition: Callable[[], bool]) -> None:
    """Let the app work until the condition holds."""
    deadline = time.perf_counter() + DEADLINE_S
    while not condition():
        if time.perf_counter() > deadline:
            raise SystemExit(f"waited for {DEADLINE_S:.0f} s in vain")
        await asyncio.sleep(0.02)


def attempt_of(console: Console, job_id: str) -> AttemptDirectory:
    """The only attempt of a live job."""
    return AgentRoot(console.root).job(job_id).attempt(1)


@contextmanager
def live_jobs(folder: Path) -> Iterator[Console]:
    """A home and an agent with trainers at work; all of them are gone afterwards."""
    console = Console(folder)
    try:
        console.start_agent()
        for job_id in LIVE_JOB_IDS:
            code, _, complaint = console.start(job_id, LIVE)
            if code:
                raise SystemExit(f"{job_id} did not start: {complaint}")
        yield console
    finally:
        console.kill_agent()
        for directory in AgentRoot(console.root).jobs():
            for attempt in directory.attempts():
                # By pid, start time and boot: what has ended already is left alone.
                if (shim := read_shim(attempt)) is not None:
                    send_signal_to_group(shim.trainer, signal.SIGKILL)
                    send_signal(shim.shim, signal.SIGKILL)


if __name__ == "__main__":
    main()
