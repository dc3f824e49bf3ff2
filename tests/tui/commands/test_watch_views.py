from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from shared.event_text import describe_event
from shared.events import Event, LogLine
from shared.job_state import fold
from shared.number_text import duration, size
from shared.store.stored import StoredJob
from tests.shared.store.journal import BEGIN, completed_job, job_spec, journal, metrics
from tui.commands.sparkline import sparkline
from tui.commands.watch_views import draw
from tui.services.mirror import Unreachable


def drawn(job: StoredJob, unreachable: Unreachable | None = None) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(draw(job, [2.0, None, 1.0], completed_job()[-2:], unreachable))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def job() -> StoredJob:
    spec = job_spec(name="A \x1b[31m[/]job")
    return StoredJob(spec, fold(completed_job()[:-4]), "local", None, None, BEGIN, BEGIN)


def test_the_panel_shows_the_figures_of_the_job(job: StoredJob) -> None:
    text = drawn(job)

    for words in ("A [/]job", "training", "3/3", "1.7000 (first 1.9000)", "(base 3.0000)", "█ ▁"):
        assert words in text
    assert "\x1b" not in text


def test_the_figures_stay_while_the_agent_is_away(job: StoredJob) -> None:
    text = drawn(job, Unreachable(BEGIN, "connection refused"))

    assert "the job may well be running (connection refused)" in text
    assert "1.7000" in text


def test_a_job_without_a_record_can_be_drawn(job: StoredJob) -> None:
    assert "queued" in drawn(replace(job, state=fold([])))


@pytest.mark.parametrize(
    "event", [record.event for record in completed_job()] + [LogLine(message="x" * 1000)]
)
def test_every_event_has_one_short_clean_line(event: Event) -> None:
    [record] = journal(event)
    line = describe_event(record)
    assert 0 < len(line) <= 160
    assert "\n" not in line


def test_an_event_cannot_steer_the_terminal() -> None:
    [record] = journal(LogLine(level="error", message="\x1b]0;t\x07two\nlines\u202e"))
    assert describe_event(record) == "error: two lines"


def test_a_loss_that_is_not_finite_is_a_dash() -> None:
    [record] = journal(metrics(7, None))
    assert describe_event(record) == "step 7: loss –"


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 5, ""),
        ([None, None], 5, "  "),
        ([1.0, 1.0], 5, "▁▁"),
        ([0.0, None, 7.0], 5, "▁ █"),
        ([0.0, 0.0, 7.0, 7.0], 2, "▁█"),
    ],
)
def test_a_sparkline_spans_the_values(values: list[float | None], width: int, bars: str) -> None:
    assert sparkline(values, width) == bars


def test_durations_and_sizes_read_well() -> None:
    assert (duration(59.6), duration(90_000)) == ("0:01:00", "25:00:00")
    assert (size(10), size(414_200_000)) == ("10 B", "414.2 MB")
