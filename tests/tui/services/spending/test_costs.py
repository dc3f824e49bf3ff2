from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from shared.money.records import KeptVolume, MachineBill
from shared.rental import MachinePurpose, MachineState
from shared.store.store import Store
from tests.shared.store.journal import job_spec
from tests.tui.rented import machine, request
from tui.services.spending.costs import cost_lines

EVENING = datetime(2026, 10, 30, 22, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
GONE = {"state": MachineState.GONE, "created_at": EVENING, "rented_at": EVENING}


async def test_a_machine_is_a_line_on_each_of_its_days(store: Store) -> None:
    spec = job_spec("job-rent", name="for the client", tags=("acme", "trial"))
    await store.add_job(spec, "runpod:job-rent", None, request())
    one = machine(
        **GONE, gone_at=EVENING + 4 * HOUR, usd_per_hour=3.0, label="2x H100_PCIE secure X"
    )
    await store.rentals.intend(one)
    await store.spending.save_bill(MachineBill(one.name, 16.0, EVENING + 9 * HOUR))

    first, second = await cost_lines(store, EVENING - 24 * HOUR, EVENING + 24 * HOUR)

    assert (first.day, second.day) == (date(2026, 10, 30), date(2026, 10, 31))
    assert (first.hours, first.gpu_hours, first.usd) == (2.0, 4.0, 6.0)
    assert (first.job_name, first.gpu_label, first.tags) == (
        "for the client",
        "H100_PCIE",
        ("acme", "trial"),
    )
    assert first.billed_usd == second.billed_usd == pytest.approx(8.0)


async def test_only_what_lies_in_the_span_is_counted(store: Store) -> None:
    await store.rentals.intend(machine(**GONE, gone_at=EVENING + 10 * HOUR, usd_per_hour=1.0))

    [line] = await cost_lines(store, EVENING + HOUR, EVENING + 2 * HOUR)

    assert line.usd == pytest.approx(1.0)
    assert (line.job_id, line.job_name) == ("job-rent", "job-rent"), "the store has no such job"
    assert line.billed_usd is None


async def test_storage_is_a_line_a_day_without_a_job(store: Store) -> None:
    await store.spending.saw_volume(
        KeptVolume("runpod", "v", "data", 100, "X", 73.0, EVENING, EVENING + 3 * HOUR)
    )

    lines = await cost_lines(store, EVENING - HOUR, EVENING + 24 * HOUR)

    assert [(line.kind, line.job_id, line.job_name) for line in lines] == [
        ("storage", "", "data"),
        ("storage", "", "data"),
    ]
    assert sum(line.usd for line in lines) == pytest.approx(0.3)


async def test_machines_that_were_never_made_and_an_empty_history_give_no_lines(
    store: Store,
) -> None:
    assert await cost_lines(store, EVENING, EVENING + HOUR) == []
    await store.rentals.intend(
        machine(state=MachineState.NEVER, created_at=EVENING, gone_at=EVENING + HOUR)
    )

    assert await cost_lines(store, EVENING, EVENING + HOUR) == []


async def test_the_future_is_not_counted(store: Store) -> None:
    begun = datetime.now(UTC) - HOUR
    rescue = machine(
        created_at=begun,
        rented_at=begun,
        usd_per_hour=1.0,
        purpose=MachinePurpose.RESCUE,
        label="the smallest CPU machine",
    )
    await store.rentals.intend(rescue)

    lines = await cost_lines(store, begun, begun + 99 * HOUR)

    assert sum(line.usd for line in lines) == pytest.approx(1.0, abs=0.01)
    assert {line.gpu_label for line in lines} == {"CPU"}
