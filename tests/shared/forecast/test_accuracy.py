from __future__ import annotations

from typing import Any

import pytest

from shared.forecast.accuracy import Accuracy, accuracy_of, ratio_of
from shared.forecast.arithmetic import forecast
from shared.forecast.past import PastJob
from shared.lifecycle import JobStatus
from tests.shared.forecast.foreseen import past_job, place, work

FORESEEN = forecast(work(), place(usd_per_hour=2.0))
assert FORESEEN.total is not None
EXPECTED_S = FORESEEN.total.expected


def took(factor: float, **values: Any) -> PastJob:
    """A job that took this many times as long as expected."""
    seconds = EXPECTED_S * factor
    cost_usd = seconds / 3600 * 2.0
    return past_job(FORESEEN, total_s=seconds, **{"cost_usd": cost_usd, **values})


def test_the_figures_are_medians_over_jobs_that_can_be_compared() -> None:
    found = accuracy_of([took(0.9), took(1.2), took(1.5), took(9.0, status=JobStatus.FAILED)])

    assert found.n_jobs == 3
    assert found.hours_error == pytest.approx(0.2)
    assert found.dollars_error == pytest.approx(0.2)
    assert found.bias == pytest.approx(0.2)
    assert (found.inside_share, found.n_inside) == (1.0, 3)


def test_what_lay_outside_the_range_is_counted() -> None:
    found = accuracy_of([took(1.0), took(20.0)])

    assert (found.inside_share, found.n_inside) == (0.5, 1)


def test_jobs_that_were_broken_or_ran_elsewhere_say_nothing() -> None:
    jobs = [took(2.0, attempts=2), took(2.0, machine="H100_SXM"), took(0.0)]

    assert [ratio_of(job) for job in jobs] == [None, None, None]
    assert accuracy_of(jobs) == accuracy_of([]) == Accuracy()


def test_a_job_that_cost_nothing_has_hours_and_no_dollars() -> None:
    found = accuracy_of([took(1.1, cost_usd=None)])

    assert (found.n_jobs, found.dollars_error) == (1, None)
