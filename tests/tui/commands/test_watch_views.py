from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from shared.event_text import describe_event
from shared.events import Event, GpuReading, GpuSample, LogLine, ModelProgress
from shared.job_state import fold
from shared.number_text import duration, size
from shared.store.stored import StoredJob
from tests.shared.store.journal import (
    BEGIN,
    completed_job,
    job_spec,
    journal,
    metrics,
    started,
)
from tui.commands.sparkline import sparkline
from tui.commands.watch_views import PlainView, draw
from tui.services.mirror import Unreachable


def drawn(job: StoredJob, unreachable: Unreachable | None = None, money: str = "") -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    now = BEGIN + timedelta(minutes=3)
    console.print(draw(job, [2.0, None, 1.0], completed_job()[-2:], unreachable, now, money))
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


def test_the_panel_shows_what_the_gpus_do(job: StoredJob) -> None:
    assert "GPU" not in drawn(job)
    sample = GpuSample(gpus=(GpuReading(index=0, utilisation_percent=98, temperature_c=71),))
    records = journal(started(), sample)
    assert "GPU 0   98 %, 71 C" in drawn(replace(job, state=fold(records)))


def test_the_panel_shows_how_far_the_base_model_is(job: StoredJob) -> None:
    progress = ModelProgress(what="downloading", done_bytes=10**9, total_bytes=4 * 10**9)
    records = journal(started(), progress)
    shown = drawn(replace(job, state=fold(records)))
    assert "model   downloading 1.0 GB of 4.0 GB (25 %)" in shown


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


def test_what_a_rented_job_costs_stands_in_the_panel(job: StoredJob) -> None:
    assert "cost    $3.20 of $20.00" in drawn(job, money="$3.20 of $20.00, ~$9.40 in all")
    assert "cost" not in drawn(job)


def test_a_log_gets_what_the_job_costs_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    view.money("$3.20 of $20.00")
    view.money("$3.21 of $20.00")

    assert capsys.readouterr().out == "cost: $3.20 of $20.00\n"
