from __future__ import annotations

from dataclasses import replace

from shared.forecast.accuracy import Accuracy
from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import Forecast, PartName
from shared.forecast.past import Past
from shared.lifecycle import JobStatus
from shared.store.forecasts import StoredForecast
from tests.shared.forecast.foreseen import host, past_job, place, work
from tests.shared.store.journal import BEGIN
from tui.views.forecast_lines import (
    accuracy_words,
    breakdown,
    compared_pairs,
    in_one_line,
    money_pairs,
    part_rows,
)

EVIL = "\x1b]52;c;cm0=\x07\u202e"
RENTED = forecast(work(), place(usd_per_hour=2.0, volume_usd_per_month=14.0))


def stored(foreseen: Forecast = RENTED, factor: float = 1.1, **values: object) -> StoredForecast:
    """A job that took this many times as long as expected."""
    total = foreseen.total
    assert total is not None
    total_s = total.expected * factor
    past = past_job(foreseen)
    usual = {"total_s": total_s, "cost_usd": total_s / 3600 * 2}
    actual = past.actual.model_copy(update={**usual, **values})
    return StoredForecast("job-one", BEGIN, foreseen, actual)


def test_each_part_has_a_line_with_range_and_source_and_then_all_of_it() -> None:
    rows = {row.name: row for row in part_rows(RENTED)}

    assert next(iter(rows)) == "machine comes up"
    assert list(rows)[-1] == "all of it"
    assert "evaluation" not in rows  # Nothing is held out.
    training = rows["training"]
    assert (training.expected, training.best, training.worst) == ("0:30:36", "0:27:12", "0:34:59")
    assert training.source == "assumed: 35 to 45 % of the peak of H100_PCIE"


def test_what_nobody_knows_is_a_dash_and_says_why() -> None:
    rows = {row.name: row for row in part_rows(forecast(work(), host()))}

    assert rows["training"].expected == rows["all of it"].expected == "–"
    assert "no earlier job" in rows["training"].source
    assert rows["all of it"].source == "a part of it is not known"
    assert in_one_line(forecast(work(), host())).startswith("unknown until the first steps: ")


def test_dollars_are_told_with_their_range_and_the_volumes_share() -> None:
    pairs = dict(money_pairs(RENTED))

    assert pairs["cost"].startswith("$1.82 ($1.23 to $")
    assert "$14.00 a month, for these hours" in pairs["storage"]
    assert money_pairs(forecast(work(), place())) == []
    unknown = forecast(work(), host(usd_per_hour=1.0))
    assert money_pairs(unknown) == [("cost", "unknown, as the time, at $1.00 an hour")]


def test_the_breakdown_says_what_is_assumed_and_what_was_measured() -> None:
    pairs = dict(breakdown(RENTED))
    assert pairs["start-up"].endswith("loading 0:01:10; assumed")
    assert pairs["training"].endswith("of the peak of H100_PCIE")

    again = forecast(work(), place(), Past((past_job(),)))
    assert dict(breakdown(again))["start-up"].endswith("; as in past jobs")
    cached = forecast(work(), place(model_source="cache"), Past((past_job(),)))
    assert dict(breakdown(cached))["start-up"].endswith("; partly as in past jobs, partly assumed")


def test_one_line_is_enough_for_a_form() -> None:
    local = forecast(work(), host(dense_tflops=756.0))
    assert in_one_line(local).startswith("about 0:")
    assert " in all: start-up 0:" in in_one_line(local)
    assert "saving 0:" in in_one_line(local)
    dry = forecast(work(dry_run=True), host())
    assert in_one_line(dry) == "dry run: one optimizer step, not estimated"


def test_forecast_and_actual_stand_beside_each_other() -> None:
    pairs = dict(compared_pairs(stored()))

    assert pairs["forecast"].startswith("0:54:")
    assert pairs["it took"].endswith(": 10 % longer, inside the range")
    assert pairs["training"] == "0:30:36 of 0:30:36 (0:27:12 to 0:34:59)"
    far = dict(compared_pairs(stored(factor=9.0)))
    assert far["it took"].endswith("outside the range")
    short = dict(compared_pairs(stored(factor=0.9)))
    assert "10 % shorter" in short["it took"]


def test_memory_is_compared_where_both_are_known() -> None:
    foreseen = RENTED.model_copy(update={"peak_bytes": 60_200_000_000})
    pairs = dict(compared_pairs(stored(foreseen, peak_bytes=58_000_000_000)))
    assert pairs["peak memory"] == "58.0 GB of 60.2 GB predicted"
    assert "peak memory" not in dict(compared_pairs(stored(foreseen)))


def test_a_job_that_cannot_be_compared_says_why() -> None:
    lost = dict(compared_pairs(stored(attempts=2)))
    assert lost["it took"].endswith(": completed, 2 attempts")
    failed = dict(compared_pairs(stored(status=JobStatus.FAILED)))
    assert failed["it took"].endswith(": failed, 1 attempt")
    elsewhere = dict(compared_pairs(stored(machine=f"H100{EVIL}")))
    assert elsewhere["it took"].endswith(", not what was foreseen")
    assert not set("".join(elsewhere.values())) & {"\x1b", "\x07", "\u202e"}


def test_before_the_end_there_is_only_the_forecast() -> None:
    assert [name for name, _ in compared_pairs(replace(stored(), actual=None))] == ["forecast"]
    assert compared_pairs(None) == []


def test_how_good_forecasts_were_is_one_line() -> None:
    assert accuracy_words(Accuracy()) == "no past job to compare with"
    found = Accuracy(7, 0.12, 0.1, 6 / 7, 0.05)
    assert accuracy_words(found) == (
        "7 jobs, hours off by 12 % in the median, dollars by 10 %, 6 of 7 inside the range"
    )


def test_a_hostile_source_cannot_steer_the_terminal() -> None:
    part = RENTED.part(PartName.TRAINING).model_copy(update={"source": EVIL})
    parts = tuple(part if each.name is part.name else each for each in RENTED.parts)
    foreseen = RENTED.model_copy(update={"parts": parts})

    words = [row.source for row in part_rows(foreseen)]
    words += [value for _, value in breakdown(foreseen)] + [in_one_line(foreseen)]
    assert not set("".join(words)) & {"\x1b", "\x07", "\u202e"}
