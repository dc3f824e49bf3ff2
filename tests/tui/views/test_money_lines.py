from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.forecast.forecast import Span
from shared.job_state import JobState
from shared.lifecycle import JobStatus
from shared.money.bills import BillDifference
from shared.money.month import MonthMoney
from shared.money.projection import Money
from shared.rental import MachineState
from tests.tui.rented import BEGIN, machine, sight
from tui.views.money_lines import (
    bill_warning,
    bill_words,
    money_dict,
    money_of_sight,
    money_pairs,
    money_words,
    month_lines,
    projected_words,
)

MONEY = Money(
    usd_per_hour=2.39,
    spent_usd=3.2,
    gpu_hours=1.34,
    budget_usd=20.0,
    stops_at_usd=19.4,
    training_ends_at_usd=9.1,
    projected=Span(best=8.9, expected=9.4, worst=11.2),
)


def test_a_job_that_runs_has_price_cost_and_what_it_will_be_with_a_tilde() -> None:
    assert money_words(MONEY) == "$3.20 of $20.00, $2.39/h now, ~$9.40 in all"
    assert money_pairs(MONEY) == [
        ("an hour", "$2.39 now"),
        ("cost so far", "$3.20 of $20.00"),
        ("projected", "~$9.40 in all (~$8.90 to ~$11.20)"),
        ("GPU hours", "1.34"),
    ]


def test_what_is_over_has_no_tilde() -> None:
    over = replace(MONEY, usd_per_hour=0.0, projected=None, training_ends_at_usd=None)

    assert money_words(over) == "$3.20 of $20.00"
    assert projected_words(over) == ""
    assert money_dict(over)["projected_usd"] is None


def test_beyond_the_budget_it_says_where_the_training_is_stopped() -> None:
    beyond = replace(MONEY, training_ends_at_usd=22.0)

    assert projected_words(beyond).endswith("beyond its budget, the training is stopped at $19.40")
    assert money_dict(beyond)["is_beyond_budget"] is True


def test_a_sights_money_is_drawn_from_the_jobs_own_speed() -> None:
    one = machine(rented_at=BEGIN)
    state = JobState(status=JobStatus.TRAINING, step=10, total_steps=110, step_s=36.0, attempt=1)

    money = money_of_sight(sight(machine=one.name), state, BEGIN + timedelta(hours=1))
    running = money_of_sight(
        replace(sight(machine=one.name), machines=(one,)), state, BEGIN + timedelta(hours=1)
    )

    assert money.spent_usd == 0.0
    assert running.projected is not None
    assert running.training_ends_at_usd == pytest.approx(2 * 2.39)


@pytest.mark.parametrize(
    ("expected_usd", "words", "tone"),
    [
        (10.0, "$300.00 of $500.00 in 2026-11 so far; ~$360.00 with open jobs and this one", ""),
        (60.0, "More than 80% of the monthly limit: $300.00 of $500.00 in 2026-11", "warning"),
        (150.0, "Beyond 100% of the monthly limit", "warning"),
    ],
)
def test_the_month_is_a_line_of_the_review(expected_usd: float, words: str, tone: str) -> None:
    [line] = month_lines(MonthMoney("2026-11", 500.0, 300.0, 50.0), expected_usd)

    assert line.name == "this month"
    assert line.value.startswith(words)
    assert line.tone == tone


def test_a_bill_that_differs_is_a_warning_and_one_that_agrees_is_none() -> None:
    end = BEGIN + timedelta(hours=2)
    gone = machine(state=MachineState.GONE, gone_at=end)
    agrees = BillDifference(gone, 4.78, 4.75, end + timedelta(hours=30))
    differs = replace(agrees, billed_usd=5.5)

    assert bill_words(agrees) == "billed $4.75, ours $4.78"
    assert bill_warning(agrees) == ""
    assert bill_warning(differs).startswith(
        "the provider's bill for machine 1 is $0.72 more than our ledger says"
    )
