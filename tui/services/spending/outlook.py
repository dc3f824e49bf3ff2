"""What was forecast for a job, as far as its money is concerned."""

from __future__ import annotations

from functools import reduce

from pydantic import ValidationError

from shared.forecast.forecast import START_UP, Forecast, PartName, Span
from shared.money.projection import Outlook
from shared.store.store import Store

_TRAINING = frozenset({PartName.TRAINING, PartName.EVALUATION})


async def outlook_of(store: Store, job_id: str) -> Outlook | None:
    """None where nothing was forecast for it, or not how long it trains."""
    kept = await store.spending.forecast(job_id)
    try:
        return None if kept is None else outlook_in(Forecast.model_validate(kept))
    except ValidationError:  # Another version wrote it.
        return None


def outlook_in(forecast: Forecast) -> Outlook | None:
    """The forecast in three parts; None where one of them is unknown."""
    start_up, training, closing = [], [], []
    for part in forecast.parts:
        if part.seconds is None:
            return None
        if part.name in START_UP:
            start_up.append(part.seconds)
        elif part.name in _TRAINING:
            training.append(part.seconds)
        else:
            closing.append(part.seconds)
    return Outlook(*(_sum(parts) for parts in (start_up, training, closing)))


def _sum(parts: list[Span]) -> Span:
    return reduce(Span.__add__, parts, Span.exactly(0.0))
