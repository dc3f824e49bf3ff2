from __future__ import annotations

import pytest

from shared.errors import InvalidInput
from shared.store.store import Store
from tui.services.limit_setting import checked_limit, set_monthly_limit


@pytest.mark.parametrize(
    ("typed", "limit_usd"),
    [
        ("500", 500.0),
        (" $1,200.50 ", 1200.5),
        ("0.01", 0.01),
        ("1000000", 1e6),
        ("1,000,000", 1e6),
        ("12.", 12.0),
    ],
)
def test_an_amount_of_dollars_is_taken(typed: str, limit_usd: float) -> None:
    assert checked_limit(typed) == limit_usd


@pytest.mark.parametrize(
    "typed",
    ["", "0", "-5", "nan", "inf", "1e3", "12,50", "1000000.01", "five", "5 $", "$", "٥", "1_000"],
)
def test_anything_else_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput, match="above 0 and at most 1,000,000"):
        checked_limit(typed)


async def test_a_limit_holds_for_every_console(store: Store) -> None:
    assert await store.settings.monthly_limit_usd() == 500.0
    await set_monthly_limit(store, 42.0)
    assert await store.settings.monthly_limit_usd() == 42.0
