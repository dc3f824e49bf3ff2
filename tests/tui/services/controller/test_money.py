from __future__ import annotations

from datetime import timedelta

import pytest

from shared.money.reserve import reserve_usd
from shared.rental import MachineState, Rental
from tests.tui.services.controller.ledger_rows import NOW, machine, request
from tui.services.controller import money

HOUR = timedelta(hours=1)


def test_a_machine_costs_from_its_request_to_its_proved_end() -> None:
    gone = machine(state=MachineState.GONE, gone_at=NOW + HOUR)
    ending = machine(state=MachineState.ENDING, ending_at=NOW + HOUR, number=2)
    never = machine(state=MachineState.NEVER, rented_at=None, gone_at=NOW + HOUR, number=3)

    assert money.spent_usd([gone], NOW + 9 * HOUR) == pytest.approx(2.4)
    # An end that was asked for is none.
    assert money.spent_usd([gone, ending, never], NOW + 2 * HOUR) == pytest.approx(2.4 + 4.8)


def test_a_clock_that_was_set_back_makes_no_machine_pay_us() -> None:
    assert money.spent_usd([machine()], NOW - HOUR) == 0.0


def test_what_is_kept_back_is_a_quarter_of_an_hour_but_at_most_a_fifth_of_the_budget() -> None:
    assert reserve_usd(request(budget_usd=10.0), 2.4) == pytest.approx(0.6)
    assert reserve_usd(request(budget_usd=1.0), 2.4) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("spent_usd", "affords"), [(0.0, True), (8.7, True), (8.81, False), (12.0, False)]
)
def test_a_machine_is_affordable_while_the_rest_pays_for_a_quarter_of_an_hour_and_the_reserve(
    spent_usd: float, affords: bool
) -> None:
    assert money.affords(request(budget_usd=10.0), spent_usd, 2.4) is affords


def test_the_deadline_counts_from_the_first_machine_and_not_from_the_latest() -> None:
    asked = request(max_duration_hours=4.0)
    waiting = Rental(since=NOW)
    second = Rental(since=NOW + 3 * HOUR, first_rented_at=NOW)

    assert money.deadline_of(asked, waiting, NOW) == NOW + 4 * HOUR
    assert money.deadline_of(asked, second, NOW + 3 * HOUR) == NOW + 4 * HOUR


def test_a_later_machine_is_told_what_the_earlier_ones_spent_and_the_time_that_is_left() -> None:
    asked = request(max_duration_hours=4.0, network_volume_id="vol-1")
    limits = money.limits_for(
        asked,
        Rental(since=NOW, first_rented_at=NOW),
        machine(number=2, usd_per_hour=3.0),
        spent=5.5,
        now=NOW + 3 * HOUR,
        idle_end_s=900.0,
    )

    assert (limits.rental, limits.spent_usd, limits.budget_usd) == (2, 5.5, 10.0)
    assert limits.deadline_s == pytest.approx(3600)
    assert limits.reserve_usd == pytest.approx(0.75)
    assert limits.results_survive


def test_a_machine_that_comes_after_the_deadline_is_told_to_end_at_once() -> None:
    limits = money.limits_for(
        request(max_duration_hours=1.0),
        Rental(since=NOW, first_rented_at=NOW),
        machine(),
        spent=0.0,
        now=NOW + 2 * HOUR,
        idle_end_s=900.0,
    )

    assert limits.deadline_s == 1.0
    assert not limits.results_survive
