"""The monthly limit keeps machines from being rented, against a provider whose pods are records."""

from __future__ import annotations

from datetime import timedelta

from shared.events import utc_now
from shared.lifecycle import JobStatus
from shared.rental import MachineState, RentalPhase
from shared.store.store_settings import MONTHLY_LIMIT_USD
from tests.end_to_end.rented import (
    Rented,
    called_off,
    story,
    until_machine,
    until_phase,
)
from tests.end_to_end.rented_job import ledger
from tests.tui.rented import machine
from tui.services.rented_jobs import answer_question


async def test_a_job_whose_month_is_spent_meanwhile_asks_before_its_first_machine(
    on_paper: Rented,
) -> None:
    request = on_paper.request(network_volume_id=None)
    async with on_paper.session() as session:
        await on_paper.start(session, "asks", "steps=4", request)
        await session.store.settings.put(MONTHLY_LIMIT_USD, 0.01)
    async with on_paper.controlled() as (session, _):
        stored = await until_phase(session, "asks", RentalPhase.ASKING)
        assert "the monthly limit is $0.01" in stored.rental.question
        assert on_paper.fake.calls("POST", "/v2/pods") == []
        assert await session.store.rentals.machines("asks") == []

        await answer_question(session, await session.store.get_job("asks"), "it is the last one")
        await until_machine(session, "asks", MachineState.RENTED)
        [override] = await session.store.spending.overrides()
        assert (override.job_id, override.reason) == ("asks", "it is the last one")
        assert "as you answered: it is the last one" in await ledger(session, "asks")
        await called_off(session, "asks")


async def test_a_job_that_asks_about_the_limit_can_be_called_off(on_paper: Rented) -> None:
    request = on_paper.request(network_volume_id=None)
    async with on_paper.session() as session:
        await on_paper.start(session, "asks", "steps=4", request)
        await session.store.settings.put(MONTHLY_LIMIT_USD, 0.01)
    async with on_paper.controlled() as (session, _):
        await until_phase(session, "asks", RentalPhase.ASKING)
        job = await called_off(session, "asks")
        assert job.status is JobStatus.CANCELLED, await story(session, "asks")
        assert on_paper.fake.billed_usd() == 0.0


async def test_money_of_last_month_keeps_nothing_from_being_rented(on_paper: Rented) -> None:
    last_month = utc_now().replace(day=1) - timedelta(days=2)
    gone = machine(
        "job-old",
        MachineState.GONE,
        created_at=last_month,
        rented_at=last_month,
        gone_at=last_month + timedelta(hours=1),
        usd_per_hour=9999.0,
    )
    async with on_paper.controlled() as (session, _):
        await session.store.rentals.intend(gone)
        await on_paper.start(session, "new", "steps=4", on_paper.request(network_volume_id=None))
        await until_machine(session, "new", MachineState.RENTED)
        await called_off(session, "new")
