"""Money of rented jobs with everything real but the provider: what is told, asked and billed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import OverMonthlyLimit
from shared.events import utc_now
from shared.money.records import NoticeScope
from shared.rental import MachineState, RentalPhase
from shared.store.store_settings import MONTHLY_LIMIT_USD
from tests.end_to_end.rented import (
    Rented,
    called_off,
    check_invariants,
    story,
    until,
    until_machine,
    until_phase,
    until_step,
)
from tests.end_to_end.rented_job import completed, ledger, pod_of, until_said
from tests.remote.remote_box import needs_a_box
from tui.services.rented_jobs import answer_question
from tui.services.spending.costs import cost_lines
from tui.services.spending.job_money import job_money
from tui.services.spending.money_watch import notices_since
from tui.services.spending.reconcile import reconcile

pytestmark = [needs_a_box, pytest.mark.slow]

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def test_a_straggler_redraws_time_and_dollars_and_is_told_once(user: Rented) -> None:
    """Row 37: 40,000 steps of 0.05 s are about $1.33, and of 0.2 s $5.31; the budget is $2.50."""
    async with user.controlled() as (session, _):
        request = user.request(budget_usd=2.5)
        await user.start(session, "slows", "steps=40000 delay=0.05 slow=30", request)
        await until_step(session, "slows", 20)
        stored = await until_phase(session, "slows", RentalPhase.RUNNING)
        early = await job_money(session.store, stored, utc_now())
        assert early.projected is not None and early.projected.expected < 2.0
        assert await notices_since(session.store, LONG_AGO) == []

        await until_step(session, "slows", 45)
        await until_said(session, "slows", "more than its budget of $2.50")
        late = await job_money(session.store, stored, utc_now())
        assert late.projected is not None and late.projected.expected > 4.0
        assert late.is_beyond_budget

        await until_step(session, "slows", 60)
        notices = await notices_since(session.store, LONG_AGO)
        assert [notice.scope for notice in notices] == [NoticeScope.PROJECTED]
        said = await ledger(session, "slows")
        assert said.count("more than its budget") == 1, await story(session, "slows")
        await called_off(session, "slows")
        await check_invariants(user, session, "slows")


async def test_beyond_the_monthly_limit_a_lost_machine_is_replaced_only_with_a_reason(
    user: Rented,
) -> None:
    async with user.controlled() as (session, _):
        await user.start(session, "goes-on", "steps=30 delay=0.2", user.request())
        await until_step(session, "goes-on", 2)
        await session.store.settings.put(MONTHLY_LIMIT_USD, 0.001)
        await until_step(session, "goes-on", 6)  # What runs is left alone.
        with pytest.raises(OverMonthlyLimit, match="--over-limit"):
            await user.start(session, "another", "steps=4", user.request())

        user.fake.lose_pod(pod_of(user, "goes-on").id, "error")
        stored = await until_phase(session, "goes-on", RentalPhase.ASKING)
        assert stored.rental.over_limit == f"{utc_now():%Y-%m}"
        assert user.fake.billing_now(f"brightrun-{await session.store.rentals.mark()}-") == []
        await until_said(session, "goes-on", "Nothing is rented before you answer 'go on: REASON'")
        job = await session.store.get_job("goes-on")
        await answer_question(session, job, "go on: the client waits")

        await completed(session, "goes-on", 30, 2)
        [override] = await session.store.spending.overrides()
        assert (override.job_id, override.reason) == ("goes-on", "the client waits")
        assert "rented beyond the monthly limit: the client waits" in await ledger(
            session, "goes-on"
        )
        await check_invariants(user, session, "goes-on")


async def test_a_raised_limit_lets_a_job_that_asks_go_on_by_itself(user: Rented) -> None:
    async with user.controlled() as (session, _):
        await session.store.settings.put(MONTHLY_LIMIT_USD, 60.0)
        await user.start(session, "raised", "steps=30 delay=0.2", user.request())
        await until_step(session, "raised", 2)
        await session.store.settings.put(MONTHLY_LIMIT_USD, 0.001)
        user.fake.lose_pod(pod_of(user, "raised").id, "error")
        await until_phase(session, "raised", RentalPhase.ASKING)

        await session.store.settings.put(MONTHLY_LIMIT_USD, 60.0)
        await completed(session, "raised", 30, 2)
        assert await session.store.spending.overrides() == []


async def test_what_a_job_cost_is_on_its_day_and_agrees_with_the_providers_bill(
    user: Rented,
) -> None:
    async with user.controlled() as (session, _):
        request = user.request()
        await user.start(session, "billed", "steps=4 delay=0.2", request)
        await completed(session, "billed", 4, 1)
        gone = await until_machine(session, "billed", MachineState.GONE)

        [found] = await reconcile(session)
        assert found.machine == gone
        assert found.billed_usd == pytest.approx(user.fake.billed_usd(gone.name), abs=0.001)
        assert 0 <= -found.usd < 0.05, "ours begins at the request and ends at the proved absence"

        async def is_noted() -> bool:
            return bool(await session.store.spending.volumes())

        await until(is_noted)
        lines = await cost_lines(session.store, utc_now() - timedelta(days=2), utc_now())
        paid = [line for line in lines if line.kind == "machine"]
        assert sum(line.usd for line in paid) == pytest.approx(gone.cost_usd(utc_now()))
        assert sum(line.billed_usd or 0 for line in paid) == pytest.approx(found.billed_usd)
        assert {line.gpu_label for line in paid} == {"H100_PCIE"}
        [volume] = await session.store.spending.volumes()
        assert volume.volume_id == request.network_volume_id
        await check_invariants(user, session, "billed")
