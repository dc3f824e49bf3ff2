"""Times the full-screen console: its first paint, memory, a long table, the chart, a loaded loop.

    python scripts/bench_console.py [start] [chart] [loop] [--seconds 15]

- start: `brightrun` on a terminal of its own, with an empty home and with one of 1,000 jobs: time
  from the spawn to the words on the terminal, and resident memory; beside a minimal Textual app.
- chart: `LossChart` redrawn after one new point, at several lengths; beside plotext alone.
- loop: how late the event loop is while four jobs train and one of them is on the screen; beside a
  console without jobs, and a loop that does nothing in the same seconds.

Homes, agent and trainers are its own and end with it; the trainers are the tests' stand-ins. Ratios
within one run are what counts: on a shared machine milliseconds drift. Goals are for information.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from types import TracebackType
from unittest import mock

from textual.app import App, ComposeResult
from textual_plotext.plot import Plot

from agent.run_directory import AgentRoot, AttemptDirectory
from scripts.bench_box import end_trainers
from scripts.bench_table import Row, print_table
from shared.events import utc_now
from shared.store.store import open_store
from tests.shared.store.journal import completed_job, job_spec
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.local_console import Console
from tui.app import BrightRunApp
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

JOB_IDS = tuple(f"job-live-{number}" for number in range(1, 5))
LIVE = "steps=100000 delay=0.05"
"""Almost 20 steps a second, and a checkpoint at every other one."""
METRICS = '"kind":"metrics"'
NAP_S = 0.005
LOOK_S = 0.25


def main() -> None:
    """Measure what is asked for, all by default, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", nargs="*", help="start, chart, loop (default: all)")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each loop")
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
    rows = [row for part in options.part or parts for row in parts[part]()]
    print_table(rows, f"textual {version('textual')}, {COLUMNS}x{LINES} cells")


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
        deadline = self._began + DEADLINE_S
        while words.encode() not in self._output:
            if self._process.poll() is not None or time.perf_counter() > deadline:
                raise SystemExit(f"{words!r} did not come: {self._output[-2000:].decode()}")
            self._read(deadline)
        return (time.perf_counter() - self._began) * 1000

    def settle(self) -> None:
        """Let it work on for `SETTLED_S`."""
        end = time.perf_counter() + SETTLED_S
        while time.perf_counter() < end:
            self._read(end)

    def resident_mb(self) -> float:
        """VmRSS in 10^6 bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6

    def _read(self, until: float) -> None:
        left = max(until - time.perf_counter(), 0.0)
        if select.select([self._master], [], [], left)[0]:
            with suppress(OSError):  # Linux's way to say that the other end was closed.
                self._output += os.read(self._master, 65_536)


@dataclass(frozen=True)
class Start:
    """A program, its home, and the words that tell that it has painted."""

    code: str
    home: Path
    words: str


def measure_starts() -> list[Row]:
    """Medians; in turns, so that a slow minute of the machine is everybody's."""
    with TemporaryDirectory(prefix="brightrun-bench-") as folder:
        empty, full = Path(folder) / "empty", Path(folder) / "full"
        asyncio.run(fill(full))
        starts = (
            Start(MINIMAL, empty, "READY"),
            Start(CONSOLE, empty, "NAME"),
            Start(CONSOLE, full, NEWEST),
        )
        # The first turn warms the file cache and makes the empty home's database.
        turns = [[paint_ms(start) for start in starts] for _ in range(STARTS + 1)][1:]
        memory = [[memory_mb(start) for start in starts] for _ in range(MEMORY_STARTS)]
    minimal, console, jobs = (median(times) for times in zip(*turns, strict=True))
    painted, settled = (
        [median(pair[index] for pair in pairs) for pairs in zip(*memory, strict=True)]
        for index in (0, 1)
    )
    beside, later = "minimal Textual app", f"{SETTLED_S:.0f} s later"
    with_jobs = f"{STORED_JOBS:,} jobs"
    return [
        Row("empty home: first paint", console, "ms", minimal, beside, "< 700 ms"),
        Row(f"{with_jobs}: first name", jobs, "ms", minimal, beside, "< 1,600 ms"),
        Row("empty home: memory at that paint", painted[1], "MB", painted[0], beside, "< 70 MB"),
        Row(f"empty home: memory {later}", settled[1], "MB", settled[0], beside),
        Row(f"{with_jobs}: memory {later}", settled[2], "MB", settled[0], beside),
    ]


def paint_ms(start: Start) -> float:
    """From the spawn to the paint."""
    with Terminal(start.code, start.home) as terminal:
        return terminal.ms_until(start.words)


def memory_mb(start: Start) -> tuple[float, float]:
    """Resident at the paint, and once everything is loaded."""
    with Terminal(start.code, start.home) as terminal:
        terminal.ms_until(start.words)
        painted = terminal.resident_mb()
        terminal.settle()
        return painted, terminal.resident_mb()


async def fill(home: Path) -> None:
    """A store of jobs that have ended: looking at them starts nothing."""
    async with open_store(home / "brightrun.db") as store:
        for number in range(1, STORED_JOBS + 1):
            job_id = f"job-{number:06}"
            name = NEWEST if number == STORED_JOBS else f"job number {number}"
            await store.add_job(job_spec(job_id, name=name), "local")
            await store.apply_records(job_id, completed_job(steps=3, job_id=job_id))


# --- chart ------------------------------------------------------------------------------------


class ChartApp(App[None]):
    """One chart that fills the screen."""

    def compose(self) -> ComposeResult:
        yield LossChart()


async def measure_chart() -> list[Row]:
    """Medians; in turns again, and each drawing after one new point, as in a living job."""
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
    first, beside = median(times[POINTS[0]]), f"chart of {POINTS[0]:,} points"
    raw = median(plotext_ms(training(RAW_POINTS)) for _ in range(3))
    return [
        *(
            Row(f"chart of {points:,} points", median(ms), "ms", first, beside, "< 50 ms")
            for points, ms in times.items()
        ),
        Row(f"plotext alone, all {RAW_POINTS:,} points", raw, "ms", first, beside),
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
    """From a new point to the lines that the screen takes; the screen's own work is not in it."""
    curves.version += curves.loss.put(curves.loss.steps[-1] + 1, 1.5)
    drawings, began = chart.drawings, time.perf_counter()
    chart.look_for_news()
    chart.render_lines(chart.size.region)
    assert chart.drawings == drawings + 1
    return (time.perf_counter() - began) * 1000


def plotext_ms(curves: TrainingCurves) -> float:
    """One curve, every point of it, in as many cells."""
    plot = Plot()
    began = time.perf_counter()
    plot._set_size(COLUMNS, LINES)
    plot.plot(curves.loss.steps, curves.loss.values, marker="braille")
    plot.build()
    return (time.perf_counter() - began) * 1000


# --- loop -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """What was seen of a console with live jobs; all times in ms."""

    late: list[float]
    ages: list[float]
    """How old the newest figures of the jobs were, looked at again and again."""
    steps_a_second: float
    steps_stored: int
    steps_written: int
    """By all trainers, in their own files."""
    records_on_screen: int
    journal_lines: int
    """Of the job on the screen."""


def measure_loop(seconds: float) -> list[Row]:
    """The idle console first; a loop in another process tells what the machine itself adds."""
    with (
        TemporaryDirectory(prefix="brightrun-bench-") as folder,
        # Spawned, not forked: this process has threads.
        multiprocessing.get_context("spawn").Pool(1) as pool,
        # What a terminal would be sent is made, too; the headless driver then drops it.
        mock.patch.object(BrightRunApp, "is_headless", False),
    ):
        pool.apply(bare_lateness, (0.1,))
        idle = asyncio.run(lateness_without_jobs(Path(folder), seconds))
        with live_jobs(Path(folder)) as console:
            answer = pool.apply_async(bare_lateness, (seconds,))
            live = asyncio.run(watch_live_jobs(console, seconds))
        bare = answer.get(DEADLINE_S)
    return loop_rows(live, idle, bare)


def loop_rows(live: Loaded, idle: list[float], bare: list[float]) -> list[Row]:
    """How late each loop was, and whether all that the trainers wrote has arrived."""
    rows = [Row(f"{len(JOB_IDS)} live jobs, steps a second", live.steps_a_second)]
    for name, of, goal in (("p50", median, ""), ("p95", p95, "< 50 ms"), ("worst", max, "")):
        late = of(live.late)
        rows.append(Row(f"loop late, {name}", late, "ms", of(idle), "console without jobs", goal))
        rows.append(Row("", late, "ms", of(bare), "bare loop in these seconds"))
    return [
        *rows,
        Row("age of the newest figures, p50", median(live.ages), "ms"),
        Row("age of the newest figures, worst", max(live.ages), "ms"),
        Row("steps in the store", live.steps_stored, "", live.steps_written, "written by trainers"),
        Row(
            "records on the job's screen",
            live.records_on_screen,
            beside=live.journal_lines,
            beside_name="in its journal",
        ),
    ]


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20)[-1]


async def lateness(seconds: float) -> list[float]:
    """By how many ms each of many short naps is too long: so late would a key be, too."""
    end = time.perf_counter() + seconds
    late = []
    while (began := time.perf_counter()) < end:
        await asyncio.sleep(NAP_S)
        late.append((time.perf_counter() - began - NAP_S) * 1000)
    return late


def bare_lateness(seconds: float) -> list[float]:
    """The same of a loop that does nothing else."""
    return asyncio.run(lateness(seconds))


async def lateness_without_jobs(folder: Path, seconds: float) -> list[float]:
    """A console on an empty home."""
    idle = folder / "idle"
    idle.mkdir()
    async with open_app(Console(idle), (COLUMNS, LINES)):
        await asyncio.sleep(1)  # What is done once at the start is not meant.
        return await lateness(seconds)


async def watch_live_jobs(console: Console, seconds: float) -> Loaded:
    """A console that follows all live jobs and shows one of them; it cancels them in the end."""
    async with open_app(console, (COLUMNS, LINES), job=JOB_IDS[0]) as opened:
        await opened.until(lambda: len(steps(opened)) == len(JOB_IDS) and all(steps(opened)))
        await asyncio.sleep(1)
        before = sum(steps(opened))
        late, ages = await asyncio.gather(lateness(seconds), ages_of_figures(opened, seconds))
        steps_a_second = (sum(steps(opened)) - before) / seconds
        steps_stored = await cancel_all(opened)
        history = opened.job_screen.history
        assert history is not None
    written = [attempt_of(console, job_id).trainer_events_path for job_id in JOB_IDS]
    return Loaded(
        late=late,
        ages=ages,
        steps_a_second=steps_a_second,
        steps_stored=steps_stored,
        steps_written=sum(path.read_text().count(METRICS) for path in written),
        records_on_screen=len(history.curves.loss.steps) + len(history.events),
        journal_lines=attempt_of(console, JOB_IDS[0]).journal_path.read_text().count("\n"),
    )


def steps(opened: ConsolePilot) -> list[int]:
    """How far each job is, as the console knows."""
    return [news.job.state.step for news in opened.app.news.values()]


async def ages_of_figures(opened: ConsolePilot, seconds: float) -> list[float]:
    """Milliseconds from when the newest record of a job was written to now, again and again."""
    ages = []
    for _ in range(int(seconds / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        times = [news.job.state.last_event_at for news in opened.app.news.values()]
        ages += [(utc_now() - at).total_seconds() * 1000 for at in times if at is not None]
    return ages


async def cancel_all(opened: ConsolePilot) -> int:
    """End the jobs as a user does; returns how many steps the store then has of them."""
    session, news = opened.app.session, opened.app.news
    assert session is not None
    for job_id in JOB_IDS:
        await cancel_job(session, news[job_id].job, "measured")
    await opened.until(lambda: all(news[key].job.status.is_final for key in JOB_IDS), DEADLINE_S)
    await opened.pilot.pause(1)  # The screen hears of it at its next turn.
    return sum([len(await session.store.metrics(job_id)) for job_id in JOB_IDS])


def attempt_of(console: Console, job_id: str) -> AttemptDirectory:
    """The only attempt of a live job."""
    return AgentRoot(console.root).job(job_id).attempt(1)


@contextmanager
def live_jobs(folder: Path) -> Iterator[Console]:
    """A home and an agent with trainers at work; all of them are gone afterwards."""
    console = Console(folder)
    try:
        console.start_agent()
        for job_id in JOB_IDS:
            code, _, complaint = console.start(job_id, LIVE)
            if code:
                raise SystemExit(f"{job_id} did not start: {complaint}")
        yield console
    finally:
        console.kill_agent()
        end_trainers(AgentRoot(console.root))


if __name__ == "__main__":
    main()
