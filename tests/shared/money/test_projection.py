from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.forecast.forecast import Span
from shared.job_state import JobState, fold
from shared.lifecycle import JobStatus
from shared.money.projection import SPEED_SPREAD, USUAL_CLOSING, Money, Outlook, money_of
from shared.rental import MachineState, Rental, RentalPhase
from tests.shared.store.journal import journal, metrics, run_facts, started
from tests.tui.rented import BEGIN, machine, request

HOUR = timedelta(hours=1)
PRICE = 3.6
"""Dollars an hour: a cent in ten seconds."""
ONE = machine(usd_per_hour=PRICE, rented_at=BEGIN)
OUTLOOK = Outlook(
    start_up=Span(best=300, expected=600, worst=900),
    training=Span(best=1800, expected=3600, worst=7200),
    closing=Span(best=0, expected=100, worst=200),
)
TRAINS = Rental(
    phase=RentalPhase.RUNNING, since=BEGIN, machine=ONE.name, rentals=1, first_rented_at=BEGIN
)


def training(**values: Any) -> JobState:
    usual = {"status": JobStatus.TRAINING, "step": 100, "total_steps": 1100, "step_s": 3.6}
    return JobState(**{**usual, "attempt": 1, "rented": True, **values})


def money(
    state: JobState, *machines: Any, rental: Rental = TRAINS, outlook: Outlook | None = None
) -> Money:
    asked = request(budget_usd=10.0)
    now = BEGIN + HOUR
    return money_of(machines or (ONE,), rental, asked, state, outlook, now, reserve_usd=0.9)


def test_a_job_that_trains_costs_what_it_has_cost_and_its_steps_at_the_observed_speed() -> None:
    found = money(training())  # 1,000 steps of 3.6 s are an hour.

    best, worst = SPEED_SPREAD
    assert (found.spent_usd, found.usd_per_hour, found.gpu_hours) == (PRICE, PRICE, 1.0)
    assert found.training_ends_at_usd == pytest.approx(2 * PRICE)
    assert found.projected is not None
    assert found.projected.expected == pytest.approx(2 * PRICE + USUAL_CLOSING.expected / 1000)
    assert found.projected.best == pytest.approx((1 + best) * PRICE + USUAL_CLOSING.best / 1000)
    assert found.projected.worst == pytest.approx((1 + worst) * PRICE + USUAL_CLOSING.worst / 1000)
    assert not found.is_beyond_budget


def test_before_the_first_step_the_forecast_says_it_less_the_start_up_that_is_over() -> None:
    loading = JobState(status=JobStatus.PREPROCESSING, attempt=1, rented=True)
    fresh = machine(
        usd_per_hour=PRICE, created_at=BEGIN + HOUR - timedelta(seconds=400), rented_at=BEGIN
    )
    installing = TRAINS.model_copy(update={"phase": RentalPhase.INSTALLING})

    found = money(loading, fresh, rental=installing, outlook=OUTLOOK)

    assert found.projected is not None
    # 400 s are paid, 200 s of the start-up are left.
    assert found.projected.expected == pytest.approx((400 + 200 + 3600 + 100) / 1000)
    assert found.projected.best == pytest.approx((400 + 0 + 1800 + 0) / 1000)


def test_without_a_step_and_without_a_forecast_nobody_can_say() -> None:
    found = money(JobState(attempt=1, rented=True))

    assert (found.projected, found.left_usd, found.is_beyond_budget) == (None, None, False)
    assert found.most_left_usd == pytest.approx(10 - PRICE)


def test_after_a_lost_machine_only_the_steps_since_the_checkpoint_are_paid_again() -> None:
    lost = replace(ONE, state=MachineState.GONE, gone_at=BEGIN + HOUR)
    waiting = Rental(
        phase=RentalPhase.PROVISIONING, since=BEGIN, rentals=1, interruptions=1, next_candidate=0
    )
    state = training(step=600, last_checkpoint_step=500, step_s=3.6)

    kept = money(state, lost, rental=waiting)
    gone = money(state, lost, rental=waiting.model_copy(update={"attempts_lost": 1}))

    assert kept.projected is not None and gone.projected is not None
    assert kept.usd_per_hour == 0.0
    per_step = 2.39 * 3.6 / 3600  # At the price of the machine that is tried next.
    assert gone.projected.expected - kept.projected.expected == pytest.approx(500 * per_step)


def test_what_is_over_has_no_projection() -> None:
    done = TRAINS.model_copy(update={"phase": RentalPhase.DONE})
    ending = TRAINS.model_copy(update={"phase": RentalPhase.ENDING, "then": RentalPhase.DONE})
    securing = TRAINS.model_copy(update={"phase": RentalPhase.SECURING})

    assert money(training(), rental=done).projected is None
    assert money(training(), rental=ending).projected is None
    home = money(training(), rental=securing).projected
    assert home is not None
    assert home.expected == pytest.approx(PRICE + USUAL_CLOSING.expected / 1000)


def test_it_is_beyond_its_budget_where_the_last_step_comes_after_the_stop() -> None:
    # It is stopped at $9.10; an hour is paid, and $5.50 buy 5,500 s.
    just = money(training(step_s=5.4))
    beyond = money(training(step_s=5.6))

    assert (just.is_beyond_budget, beyond.is_beyond_budget) == (False, True)
    assert just.stops_at_usd == pytest.approx(9.1)


def test_steps_that_take_four_times_as_long_redraw_time_and_dollars() -> None:
    """Row 37 of the fault matrix."""
    begin = journal(started(), run_facts(1000), *(metrics(n, 1.0, step_s=1.0) for n in range(1, 6)))
    slow = [metrics(n, 1.0, step_s=4.0) for n in range(6, 18)]
    records = journal(*(record.event for record in begin), *slow)
    before = fold(records[: len(begin)], JobState(rented=True))
    after = fold(records[len(begin) :], before)

    early, late = money(before), money(after)

    assert before.eta_s() == pytest.approx(995.0)
    assert after.eta_s() == pytest.approx(4 * 983, rel=0.06)
    assert early.projected is not None and late.projected is not None
    assert late.projected.expected - PRICE > 3 * (early.projected.expected - PRICE)


@given(
    step=st.integers(0, 1000),
    step_s=st.floats(0.01, 1000),
    price=st.floats(0, 50),
    hours=st.floats(0, 100),
)
def test_best_is_never_above_expected_nor_expected_above_worst_nor_any_below_what_is_spent(
    step: int, step_s: float, price: float, hours: float
) -> None:
    one = replace(ONE, usd_per_hour=price)
    found = money_of(
        [one],
        TRAINS,
        request(budget_usd=10.0),
        training(step=step, total_steps=1000, step_s=step_s),
        None,
        BEGIN + timedelta(hours=hours),
        reserve_usd=0.5,
    )

    assert found.projected is not None
    assert (
        found.spent_usd
        <= found.projected.best + 1e-9
        <= found.projected.expected + 2e-9
        <= found.projected.worst + 3e-9
    )
    assert found.left_usd is not None
    assert 0 <= found.left_usd <= found.most_left_usd
