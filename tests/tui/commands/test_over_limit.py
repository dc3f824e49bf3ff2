"""The monthly limit at the command line: warned of, refused, and gone beyond with a reason."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import InvalidInput, OverMonthlyLimit
from shared.events import utc_now
from shared.lifecycle import JobStatus
from shared.money.records import MachineBill
from shared.rental import MachineState, RentalPhase
from shared.store.store import Store
from shared.store.store_settings import MONTHLY_LIMIT_USD
from tests.fakes.runpod.server import FakeRunpod
from tests.tui import rented
from tui.commands.answer import answer_job
from tui.commands.rent import RentOptions
from tui.commands.retry import RetryOptions, retry_job
from tui.commands.show import show_job
from tui.commands.start import StartOptions, start_job
from tui.services.rent_plan import RentWanted

PAIR = (
    '{"id": "p1", "conversation_id": "c1", "turn_number": 1, "system_prompt": "Be kind.", '
    '"conversation_history": [], "current_user_input": "Hi", "target_response": "Hello."}'
)


@pytest.fixture
def options(tmp_path: Path) -> StartOptions:
    path = tmp_path / "train.jsonl"
    path.write_text('{"_meta": {"version": "4.0.0"}}\n' + PAIR + "\n")
    wanted = RentWanted(budget_usd=5.0, gpu_types=("H100_PCIE",))
    values = {"job_id": "job-rent"}
    return StartOptions((path,), (), values, host="runpod", rent=RentOptions(wanted, yes=True))


async def spent_this_month(store: Store, usd: float) -> None:
    """A machine that ran for an hour of this month."""
    begun = utc_now().replace(day=1, hour=0, minute=0, second=0)
    gone = rented.machine(
        "job-old",
        MachineState.GONE,
        created_at=begun,
        rented_at=begun,
        gone_at=begun + timedelta(hours=1),
        usd_per_hour=usd,
    )
    await store.rentals.intend(gone)


async def runs_elsewhere(store: Store) -> None:
    """Another controller leads, and takes the job to where the command is content."""
    await store.rentals.take_lease("other", "serve on box", utc_now(), timedelta(hours=1))
    while await store.rentals.get("job-rent") is None:
        await asyncio.sleep(0.01)
    await rented.put(store, phase=RentalPhase.RUNNING)


async def test_a_job_beyond_the_limit_is_refused_before_anything_is_written_or_made(
    runpod: FakeRunpod, store: Store, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await spent_this_month(store, 500.0)
    wanted = replace(options.rent.wanted, volume="new:50")

    with pytest.raises(OverMonthlyLimit, match=r"The monthly limit is \$500\.00"):
        await start_job(replace(options, rent=RentOptions(wanted, yes=True)))

    assert "! Beyond 100% of the monthly limit: $500.00 of $500.00" in capsys.readouterr().out
    assert await store.list_jobs() == []
    assert runpod.calls("POST", "") == [], "no volume, no machine"


async def test_with_a_reason_it_is_started_and_the_reason_is_kept(
    runpod: FakeRunpod, store: Store, options: StartOptions
) -> None:
    await spent_this_month(store, 500.0)
    rent = replace(options.rent, over_limit="the client waits")

    _, code = await asyncio.gather(
        runs_elsewhere(store), start_job(replace(options, rent=rent, as_json=True))
    )

    assert code == 0
    [override] = await store.spending.overrides()
    assert (override.job_id, override.reason) == ("job-rent", "the client waits")
    assert override.limit_usd == 500.0
    assert override.expected_usd > 500.0


async def test_near_the_limit_it_is_only_warned_of(
    runpod: FakeRunpod, store: Store, options: StartOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await spent_this_month(store, 420.0)

    _, code = await asyncio.gather(runs_elsewhere(store), start_job(replace(options, as_json=True)))

    out, err = capsys.readouterr()
    assert code == 0
    assert "! More than 80% of the monthly limit: $420.00 of $500.00" in err
    assert json.loads(out)["created"] is True
    assert await store.spending.overrides() == []


async def test_the_same_start_again_asks_for_no_other_reason(
    runpod: FakeRunpod, store: Store, options: StartOptions
) -> None:
    await asyncio.gather(runs_elsewhere(store), start_job(replace(options, as_json=True)))
    await spent_this_month(store, 500.0)

    assert await start_job(replace(options, as_json=True)) == 0


async def test_a_retry_is_held_to_the_limit_too(store: Store) -> None:
    await rented.add_rented_job(store)
    await store.settle_job("job-rent", JobStatus.FAILED, "it had to be")
    await rented.put(store, phase=RentalPhase.DONE)
    await store.settings.put(MONTHLY_LIMIT_USD, 10.0)

    with pytest.raises(OverMonthlyLimit):
        await retry_job("job-rent", RetryOptions(yes=True))
    assert len(await store.list_jobs()) == 1

    assert await retry_job("job-rent", RetryOptions(over_limit="once more", yes=True)) == 0
    [override] = await store.spending.overrides()
    assert override.reason == "once more"
    assert override.job_id in {job.job_id for job in await store.list_jobs()}


@pytest.mark.parametrize(
    "typed", ["go on: The Client waits", "The Client waits", "GO ON: The Client waits"]
)
async def test_a_job_that_asks_for_a_reason_is_answered_with_one(store: Store, typed: str) -> None:
    await rented.add_rented_job(store)
    await rented.put(store, phase=RentalPhase.ASKING, question="Why?", over_limit="2026-11")

    for nothing in ("go on", "go on: ", "go on :"):
        with pytest.raises(InvalidInput, match="Say why"):
            await answer_job("job-rent", nothing)
    assert await answer_job("job-rent", typed) == 0

    stored = await store.rentals.get("job-rent")
    assert stored is not None and stored.answer == "go on: The Client waits"


async def test_such_a_job_may_be_stopped_all_the_same(store: Store) -> None:
    await rented.add_rented_job(store)
    await rented.put(store, phase=RentalPhase.ASKING, question="Why?", over_limit="2026-11")

    assert await answer_job("job-rent", "stop") == 0

    stored = await store.rentals.get("job-rent")
    assert stored is not None and stored.wish.value == "cancel"


async def test_show_says_how_to_give_the_reason_and_what_was_billed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    await rented.add_rented_job(store)
    await rented.put(store, phase=RentalPhase.ASKING, question="Why?", over_limit="2026-11")
    gone_at = rented.BEGIN + timedelta(hours=2)
    gone = rented.machine(state=MachineState.GONE, gone_at=gone_at)
    await store.rentals.intend(gone)
    await store.spending.save_bill(MachineBill(gone.name, 5.5, gone_at + timedelta(hours=30)))

    assert await show_job("job-rent", as_json=False) == 0
    out = capsys.readouterr().out
    assert 'brightrun answer job-rent "go on: REASON"' in out
    assert "billed $5.50, ours $4.78" in out
    assert "! the provider's bill for machine 1 is $0.72 more than our ledger says" in out

    assert await show_job("job-rent", as_json=True) == 0
    shown = json.loads(capsys.readouterr().out)["rental"]
    assert shown["machines"][0]["billed_usd"] == 5.5
    assert shown["gpu_hours"] == 2.0
    assert shown["projected_usd"] is None
