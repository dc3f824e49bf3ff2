"""Bills and volumes of a real account at a stand-in: real HTTP, its own billing meter and clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.errors import ProviderError
from shared.events import utc_now
from shared.machine_request import Candidate
from shared.rental import Machine, MachineState
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.rented import add_rented_job, machine
from tui.services.controller.bookkeeping import Bookkeeper
from tui.services.providers.provider import MachineOrder
from tui.services.session import Session, open_session
from tui.services.spending.reconcile import due_machines, reconcile

HOUR = timedelta(hours=1)
ORDER = MachineOrder(
    name="brightrun-0123abcd-job-rent-1",
    candidate=Candidate(gpu_type="H100_PCIE", data_center="US-KS-2", usd_per_hour=2.39),
    image="runpod/pytorch:x",
    command="exec sleep infinity",
    env={"PUBLIC_KEY": "ssh-ed25519 AAAA"},
    container_disk_gb=50,
    min_cuda="12.8",
)


@pytest.fixture
async def session(runpod: FakeRunpod) -> AsyncIterator[Session]:
    async with open_session() as opened:
        yield opened


async def ended_machine(
    session: Session, fake: FakeRunpod, hours: float, ago: timedelta
) -> Machine:
    """It ran so long by the provider's meter and by our ledger, and is gone since then."""
    seen = await session.provider().rent(ORDER)
    fake.clock.advance(hours * 3600)
    await session.provider().end(seen.machine_id)
    gone_at = utc_now() - ago
    begun = gone_at - timedelta(hours=hours)
    gone = machine(
        name=ORDER.name,
        state=MachineState.GONE,
        machine_id=seen.machine_id,
        created_at=begun,
        rented_at=begun,
        gone_at=gone_at,
    )
    await session.store.rentals.intend(gone)
    return gone


async def test_the_bill_of_a_machine_that_ran_three_hours_is_what_our_ledger_says(
    session: Session, runpod: FakeRunpod
) -> None:
    gone = await ended_machine(session, runpod, 3.0, ago=HOUR)

    [found] = await reconcile(session)

    assert found.machine == gone
    assert found.billed_usd == pytest.approx(7.17, abs=0.05)
    assert found.usd == pytest.approx(0.0, abs=0.05)
    assert not found.is_notable


async def test_an_hour_that_only_the_provider_counted_is_notable(
    session: Session, runpod: FakeRunpod
) -> None:
    gone = await ended_machine(session, runpod, 3.0, ago=HOUR)
    short = replace(gone, name="ours", created_at=gone.created_at + HOUR)
    await session.store.rentals.intend(short)

    found = {each.machine.name: each for each in await reconcile(session)}

    assert found["ours"].usd == pytest.approx(2.39, abs=0.05)
    assert found["ours"].is_notable
    assert not found[gone.name].is_notable


async def test_a_machine_that_ran_for_forty_days_is_billed_for_all_of_them(
    session: Session, runpod: FakeRunpod
) -> None:
    await ended_machine(session, runpod, 40 * 24.0, ago=HOUR)

    [found] = await reconcile(session)

    assert found.billed_usd == pytest.approx(40 * 24 * 2.39, rel=0.001)


async def test_a_machine_of_somebody_else_is_not_on_its_bill(
    session: Session, runpod: FakeRunpod
) -> None:
    await session.provider().rent(replace(ORDER, name="somebody-elses"))
    gone = await ended_machine(session, runpod, 1.0, ago=HOUR)

    [found] = await reconcile(session)

    assert found.machine.name == gone.name
    assert found.billed_usd == pytest.approx(2.39, abs=0.05)


async def test_a_bill_that_says_nothing_yet_is_asked_for_again_an_hour_later(
    session: Session, runpod: FakeRunpod
) -> None:
    begun = utc_now() - 2 * HOUR
    unknown = machine(
        state=MachineState.GONE, created_at=begun, rented_at=begun, gone_at=begun + HOUR
    )
    await session.store.rentals.intend(unknown)

    assert await reconcile(session) == []

    bill = (await session.store.spending.bills())[unknown.name]
    assert bill.billed_usd is None
    assert await due_machines(session.store, utc_now()) == []
    assert await due_machines(session.store, utc_now() + HOUR) == [unknown]


async def test_whoever_leads_asks_once_an_hour_for_what_is_due(
    session: Session, runpod: FakeRunpod
) -> None:
    gone = await ended_machine(session, runpod, 1.0, ago=HOUR)
    bookkeeper = Bookkeeper(session.store, session.provider(), pause_s=60.0)

    await bookkeeper.look()
    first = (await session.store.spending.bills())[gone.name]
    await bookkeeper.look()

    assert (await session.store.spending.bills())[gone.name] == first


async def test_without_the_provider_nothing_is_written(
    session: Session, runpod: FakeRunpod, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended_machine(session, runpod, 1.0, ago=HOUR)
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "http://127.0.0.1:9")
    async with open_session() as away:
        with pytest.raises(ProviderError):
            await reconcile(away)

    assert await session.store.spending.bills() == {}


async def test_volumes_of_our_jobs_are_noted_with_their_price_and_others_are_not(
    session: Session, runpod: FakeRunpod
) -> None:
    ours = await session.provider().create_volume("ours", 100, "US-KS-2")
    await session.provider().create_volume("somebody-elses", 100, "US-KS-2")
    await add_rented_job(session.store, network_volume_id=ours.volume_id)
    bookkeeper = Bookkeeper(session.store, session.provider(), pause_s=60.0)

    before = utc_now()
    await bookkeeper.look()

    [kept] = await session.store.spending.volumes()
    assert (kept.name, kept.size_gb, kept.usd_per_month) == ("ours", 100, ours.usd_per_month)
    assert before <= kept.first_seen_at == kept.last_seen_at
    await reconcile(session)
    [later] = await session.store.spending.volumes()
    assert later.first_seen_at == kept.first_seen_at < later.last_seen_at
    assert isinstance(later.last_seen_at, datetime)


async def test_a_store_that_never_rented_asks_nobody(
    session: Session, runpod: FakeRunpod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")

    assert await reconcile(session) == []
