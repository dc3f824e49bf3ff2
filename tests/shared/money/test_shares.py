from __future__ import annotations

import pytest

from shared.money.month import MonthMoney
from shared.money.shares import JOB_SHARES, MONTH_SHARES, reached


@pytest.mark.parametrize(
    ("usd", "shares"),
    [(4.99, ()), (5.0, (0.5,)), (8.0, (0.5, 0.8)), (10.0, (0.5, 0.8, 1.0)), (99.0, JOB_SHARES)],
)
def test_shares_of_a_budget_are_reached_in_turn(usd: float, shares: tuple[float, ...]) -> None:
    assert reached(usd, 10.0, JOB_SHARES) == shares


@pytest.mark.parametrize(
    ("expected_usd", "share", "is_beyond"),
    [(49.0, None, False), (50.0, 0.8, False), (125.0, 0.95, False), (150.0, 1.0, True)],
)
def test_a_month_warns_at_four_fifths_and_needs_consent_at_its_limit(
    expected_usd: float, share: float | None, is_beyond: bool
) -> None:
    month = MonthMoney("2026-11", 500.0, spent_usd=300.0, open_usd=50.0)

    assert MONTH_SHARES == (0.8, 0.95, 1.0)
    assert month.warning_share(expected_usd) == share
    assert month.is_beyond(expected_usd) is is_beyond
