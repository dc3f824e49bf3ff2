"""The arithmetic of a forecast against cases that were worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.forecast.arithmetic import forecast
from shared.forecast.forecast import Forecast, PartName, Span
from shared.forecast.past import MeasuredSpeed, Past
from tests.shared.forecast.foreseen import host, past_job, place, work

TRAINING, EVALUATION = PartName.TRAINING, PartName.EVALUATION


def seconds_of(foreseen: Forecast, name: PartName) -> Span:
    span = foreseen.part(name).seconds
    assert span is not None
    return span


def test_training_a_real_file_takes_about_half_an_hour_on_an_h100() -> None:
    training = forecast(work(), place()).part(TRAINING)

    assert training.seconds is not None
    hours = training.seconds.times(1 / 3600)
    # 1.332 million tokens x 417 GFLOP, by 45, 40 and 35 % of 756 TFLOP/s.
    assert (hours.best, hours.expected, hours.worst) == pytest.approx(
        (0.453, 0.510, 0.583), abs=0.002
    )
    assert training.source == "assumed: 35 to 45 % of the peak of H100_PCIE"


def test_a_token_more_or_less_the_published_example_comes_out() -> None:
    """1.375 million tokens take 0.47 to 0.60 h."""
    hours = seconds_of(forecast(work(tokens_per_epoch=458_333), place()), TRAINING).times(1 / 3600)

    assert (round(hours.best, 2), round(hours.worst, 2)) == (0.47, 0.60)


def test_an_evaluation_is_a_third_of_the_arithmetic_of_training_the_same_tokens() -> None:
    foreseen = forecast(work(held_out_tokens=30_000, evaluations=4), place())
    training, evaluation = (seconds_of(foreseen, name) for name in (TRAINING, EVALUATION))

    share = 4 * 30_000 / foreseen.work.tokens
    assert evaluation.expected == pytest.approx(training.expected * share / 3)
    assert seconds_of(forecast(work(), place()), EVALUATION) == Span.exactly(0)


def test_a_quantised_copy_on_the_volume_saves_most_of_the_start() -> None:
    download = forecast(work(), place())
    hit = forecast(work(), place(model_source="cache"))

    # 141.1 GB at 100 to 500 MB/s; 39.5 GB at 200 to 1000 MB/s.
    model = seconds_of(download, PartName.MODEL)
    assert (model.best, model.expected, model.worst) == pytest.approx((282.2, 564.4, 1411))
    model = seconds_of(hit, PartName.MODEL)
    assert (model.best, model.expected, model.worst) == pytest.approx((39.5, 98.75, 197.5))
    assert "39.5 GB" in hit.part(PartName.MODEL).source
    assert seconds_of(hit, TRAINING) == seconds_of(download, TRAINING)
    assert hit.total is not None and download.total is not None
    assert hit.total.expected < download.total.expected


def test_everything_that_nobody_measured_says_so() -> None:
    for part in forecast(work(held_out_tokens=9, evaluations=2), place()).parts:
        assert "assumed" in part.source, part.name


def test_dollars_are_hours_by_price_and_the_volumes_share() -> None:
    foreseen = forecast(work(), place(usd_per_hour=2.0, volume_usd_per_month=7.3))

    hours, cost = foreseen.hours, foreseen.cost_usd
    assert hours is not None and cost is not None
    assert foreseen.total is not None
    assert hours.expected == pytest.approx(foreseen.total.expected / 3600)
    assert foreseen.machine_usd == hours.times(2.0)
    # $7.30 a month of 730 hours is a cent an hour.
    assert foreseen.storage_usd == hours.times(0.01)
    assert cost.worst == pytest.approx(hours.worst * 2.01)
    assert forecast(work(), place()).cost_usd is None


def test_on_a_machine_of_ones_own_nothing_comes_up_and_nothing_comes_home() -> None:
    foreseen = forecast(work(), host())

    for name in (PartName.MACHINE, PartName.INSTALL, PartName.HOME):
        assert seconds_of(foreseen, name) == Span.exactly(0)


def test_a_time_is_never_invented() -> None:
    foreseen = forecast(work(), host("ssh:box"))

    assert foreseen.part(TRAINING).seconds is None
    words = "no earlier job with this model was measured on ssh:box"
    assert foreseen.part(TRAINING).source == words
    assert (foreseen.total, foreseen.hours, foreseen.cost_usd) == (None, None, None)
    assert foreseen.start_up is not None
    unknown = work(flops_per_token=None, published_bytes=None, quantized_bytes=None)
    shapeless = forecast(unknown, place())
    assert shapeless.part(PartName.LOAD).source == "the base model's size is unknown"
    assert (shapeless.total, shapeless.start_up) == (None, None)


def test_a_dry_run_is_its_start_alone() -> None:
    foreseen = forecast(work(dry_run=True, total_steps=1), place())

    assert seconds_of(foreseen, TRAINING) == Span.exactly(0)
    assert foreseen.total is not None and foreseen.start_up is not None
    ending = seconds_of(foreseen, PartName.HOME)
    assert foreseen.total.expected == pytest.approx(foreseen.start_up.expected + ending.expected)


def test_a_resumed_job_trains_only_the_steps_that_are_left() -> None:
    whole, rest = (forecast(work(first_step=step), place()) for step in (0, 30))

    ratio = seconds_of(rest, TRAINING).expected / seconds_of(whole, TRAINING).expected
    assert ratio == pytest.approx(15 / 45, abs=1e-5)


def test_replicas_share_the_training_and_nothing_else() -> None:
    alone, two = (forecast(work(), place(num_gpus=count)) for count in (1, 2))

    assert seconds_of(two, TRAINING).expected == seconds_of(alone, TRAINING).expected / 2
    assert seconds_of(two, PartName.LOAD) == seconds_of(alone, PartName.LOAD)
    assert "2 x H100_PCIE" in two.part(TRAINING).source


# --- what earlier jobs took -----------------------------------------------------------------------


def test_a_past_job_replaces_what_is_assumed_part_by_part() -> None:
    took = {TRAINING: 3000.0, PartName.MACHINE: 100.0, PartName.LOAD: 90.0}
    past = Past((past_job(seconds=took),))

    again = forecast(work(), place(), past)
    shorter = forecast(work(num_epochs=1, total_steps=15), place(), past)

    assert seconds_of(again, TRAINING).expected == pytest.approx(3000)
    assert again.part(TRAINING).source == "1 past job on H100_PCIE"
    assert again.part(PartName.MACHINE).source == "1 past job on rented machines"
    assert seconds_of(again, PartName.LOAD) == Span(best=67.5, expected=90, worst=112.5)
    assert seconds_of(shorter, TRAINING).expected == pytest.approx(1000, rel=1e-5)
    assert seconds_of(shorter, PartName.LOAD).expected == 90


def test_several_past_jobs_give_their_median_and_their_range() -> None:
    jobs = [past_job(seconds={TRAINING: took}) for took in (1000.0, 2000.0, 2100.0)]

    foreseen = forecast(work(), place(), Past(tuple(jobs)))

    training = seconds_of(foreseen, TRAINING)
    assert (training.best, training.expected, training.worst) == pytest.approx((1000, 2000, 2200))
    assert foreseen.part(TRAINING).source == "3 past jobs on H100_PCIE"


def test_another_model_gpu_or_number_of_gpus_says_nothing_of_the_speed() -> None:
    model = past_job(forecast(work(base_model="other"), place()))
    sxm = past_job(machine="H100_SXM")
    two = past_job(forecast(work(), place(num_gpus=2)))
    past = Past((model, sxm, two))

    foreseen = forecast(work(), place(), past)

    assert foreseen.part(TRAINING).source.startswith("assumed")
    # How long a machine takes to come up does not depend on the model.
    assert foreseen.part(PartName.MACHINE).source == "3 past jobs on rented machines"
    assert forecast(work(), host(), past).part(TRAINING).seconds is None


def test_a_download_says_nothing_of_a_copy_that_is_there() -> None:
    past = Past((past_job(seconds={PartName.MODEL: 900.0}),))

    download = forecast(work(), place(), past)
    hit = forecast(work(), place(model_source="cache"), past)

    assert seconds_of(download, PartName.MODEL).expected == 900
    assert "checked on the volume" in hit.part(PartName.MODEL).source


def test_without_such_a_job_a_speed_that_was_seen_there_is_taken() -> None:
    past = Past(speed=MeasuredSpeed(1000.0, "job-before"))

    training = forecast(work(tokens_per_epoch=2000), host(), past).part(TRAINING)

    assert training.seconds is not None
    assert training.seconds.expected == pytest.approx(6.0)
    assert training.source == "the speed of job-before"


tokens = st.integers(min_value=0, max_value=10**9)
took = st.floats(min_value=0.001, max_value=1e6)


@given(tokens, tokens, st.integers(1, 10), st.lists(took, max_size=5))
def test_more_tokens_never_take_less_time_and_the_range_is_in_order(
    few: int, more: int, epochs: int, seconds: list[float]
) -> None:
    few, more = sorted((few, more))
    past = Past(tuple(past_job(seconds={TRAINING: each, EVALUATION: each}) for each in seconds))

    def total(count: int) -> Span:
        planned = work(
            tokens_per_epoch=count,
            num_epochs=epochs,
            total_steps=epochs,
            held_out_tokens=count // 10,
            evaluations=epochs + 1,
        )
        found = forecast(planned, place(), past).total
        assert found is not None
        return found

    less, longer = total(few), total(more)
    for span in (less, longer):
        assert 0 <= span.best <= span.expected <= span.worst
    for name in ("best", "expected", "worst"):
        assert getattr(less, name) <= getattr(longer, name)
