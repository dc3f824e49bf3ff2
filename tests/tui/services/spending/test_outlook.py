from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import insert

from shared.events import utc_now
from shared.forecast.forecast import Forecast, Part, PartName, Place, PlannedWork, Span
from shared.store.schema import forecasts
from shared.store.store import Store
from tests.tui.rented import add_rented_job
from tui.services.spending.outlook import outlook_in, outlook_of


def forecast(seconds: float | None = 100.0) -> Forecast:
    """Ten seconds for each part, and so many for the training."""
    work = PlannedWork(base_model="tiny", tokens_per_epoch=10, num_epochs=1, total_steps=1)
    spans = {name: Span(best=5, expected=10, worst=20) for name in PartName}
    parts = []
    for name, span in spans.items():
        is_training = name is PartName.TRAINING
        known = None if seconds is None else Span.exactly(seconds)
        parts.append(Part(name=name, seconds=known if is_training else span, source="assumed"))
    return Forecast(work=work, place=Place(machine="H100_PCIE"), parts=tuple(parts))


async def keep(store: Store, kept: Any) -> None:
    await add_rented_job(store)
    row = {"training_job_id": "job-rent", "made_at": utc_now(), "forecast": kept}
    async with store.database.writing() as connection:
        await connection.execute(insert(forecasts), row)


async def test_a_forecasts_parts_become_start_up_training_and_closing(store: Store) -> None:
    await keep(store, json.loads(forecast().model_dump_json()))

    outlook = await outlook_of(store, "job-rent")

    assert outlook is not None
    assert outlook.start_up == Span(best=20, expected=40, worst=80)
    assert outlook.training == Span(best=105, expected=110, worst=120)
    assert outlook.closing == Span(best=10, expected=20, worst=40)


@pytest.mark.parametrize("kept", [{"parts": "of another version"}, [], "?"])
async def test_a_forecast_that_cannot_be_read_is_none(store: Store, kept: Any) -> None:
    await keep(store, kept)

    assert await outlook_of(store, "job-rent") is None


async def test_without_a_forecast_there_is_none(store: Store) -> None:
    await add_rented_job(store)

    assert await outlook_of(store, "job-rent") is None


def test_a_forecast_that_does_not_know_the_training_says_nothing_of_money() -> None:
    assert outlook_in(forecast(None)) is None
