"""The limit of what a month may cost: read from text, and set for everybody."""

from __future__ import annotations

import re

from shared.errors import InvalidInput
from shared.store.store import Store
from shared.store.store_settings import MONTHLY_LIMIT_USD

MOST_USD = 1e6

# `12,50` is no twelve hundred and fifty: commas only before three digits.
_DOLLARS = re.compile(r"\$?(\d{1,9}|\d{1,3}(?:,\d{3}){1,2})(\.\d{0,6})?", re.ASCII)


def checked_limit(text: str) -> float:
    """Dollars from what was typed: `500`, `$1,200.50`.

    Raises:
        InvalidInput: no number, or out of range.
    """
    typed = text.strip()
    limit_usd = float(typed.strip("$").replace(",", "")) if _DOLLARS.fullmatch(typed) else 0.0
    if not 0 < limit_usd <= MOST_USD:
        raise InvalidInput(
            f"{typed!r}: the monthly limit is in dollars, above 0 and at most {MOST_USD:,.0f}."
        )
    return limit_usd


async def set_monthly_limit(store: Store, limit_usd: float) -> None:
    """From now on; what runs goes on.

    Raises:
        StoreError: it cannot be written.
    """
    await store.settings.put(MONTHLY_LIMIT_USD, limit_usd)
