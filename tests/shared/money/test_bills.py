from __future__ import annotations

from datetime import timedelta

import pytest

from shared.money.bills import differences, due, unsettled
from shared.money.records import MachineBill
from shared.rental import Machine, MachineState
from tests.tui.rented import BEGIN, machine

HOUR = timedelta(hours=1)
END = BEGIN + 2 * HOUR
GONE = machine(state=MachineState.GONE, gone_at=END, usd_per_hour=2.0)
"""It cost $4.00."""


def bill(usd: float | None, after: timedelta) -> dict[str, MachineBill]:
    return {GONE.name: MachineBill(GONE.name, usd, END + after)}


@pytest.mark.parametrize(
    ("age", "asked_after", "is_due"),
    [
        (timedelta(minutes=5), None, False),
        (timedelta(minutes=11), None, True),
        (2 * HOUR, timedelta(minutes=61), False),
        (2 * HOUR, timedelta(minutes=60), True),
        (72 * HOUR, 70 * HOUR, True),
        (90 * HOUR, 73 * HOUR, False),
        (90 * HOUR, None, False),
    ],
)
def test_a_bill_is_asked_for_once_an_hour_for_three_days(
    age: timedelta, asked_after: timedelta | None, is_due: bool
) -> None:
    known = {} if asked_after is None else bill(4.0, asked_after)

    assert due([GONE], known, END + age) == ([GONE] if is_due else [])


def test_machines_that_run_or_never_were_have_no_bill_to_ask_for() -> None:
    others: list[Machine] = [
        machine(),
        machine(state=MachineState.NEVER, gone_at=END),
        machine(state=MachineState.ENDING),
    ]

    assert unsettled(others, {}) == []


def test_whoever_asks_by_hand_gets_every_bill_that_may_still_change() -> None:
    assert unsettled([GONE], {}) == [GONE]
    assert unsettled([GONE], bill(4.0, 71 * HOUR)) == [GONE]
    assert unsettled([GONE], bill(4.0, 73 * HOUR)) == []


@pytest.mark.parametrize(
    ("billed", "after", "is_notable"),
    [
        (4.15, HOUR, False),
        (4.25, HOUR, True),
        (3.0, HOUR, False),  # The bill lags: it may not have all of it yet.
        (3.0, 25 * HOUR, True),
        (3.9, 25 * HOUR, False),
    ],
)
def test_a_difference_is_notable_above_a_twentieth_and_ten_cents(
    billed: float, after: timedelta, is_notable: bool
) -> None:
    [found] = differences([GONE], bill(billed, after))

    assert found.ours_usd == pytest.approx(4.0)
    assert found.usd == pytest.approx(billed - 4.0)
    assert found.is_notable is is_notable


def test_cents_of_a_cheap_machine_are_not_notable() -> None:
    cheap = machine(state=MachineState.GONE, gone_at=END, usd_per_hour=0.02)

    [found] = differences([cheap], {cheap.name: MachineBill(cheap.name, 0.13, END + 30 * HOUR)})

    assert not found.is_notable


def test_a_bill_that_says_nothing_yet_is_no_difference() -> None:
    assert differences([GONE], bill(None, HOUR)) == []
