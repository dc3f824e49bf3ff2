"""Rented machines on the machines screen, against a stand-in for the provider."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.rental import MachineState, RentalPhase, Wish
from shared.store.store import Store
from tests.fakes.runpod.clients import gpu_order
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.console_pilot import ConsolePilot
from tests.tui.rented import machine, put
from tests.tui.screens.rental import OPEN, console, opened, runpod, store
from tui.screens.machines import MachinesScreen
from tui.services.controller.machine_names import machine_name

__all__ = ["console", "opened", "runpod", "store"]  # fixtures


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.fleet_screen._FLEET_INTERVAL_S", 0.5)
    monkeypatch.setattr("tui.services.controller.fleet._POLL_S", 0.05)


async def show_machines(pilot: ConsolePilot) -> None:
    await pilot.press("h")
    await pilot.until(lambda: isinstance(pilot.app.screen, MachinesScreen))


async def orphan(store: Store, runpod: FakeRunpod, job_id: str) -> str:
    """A pod with our mark that no open job wants; its name."""
    name = machine_name(await store.rentals.mark(), job_id, 1)
    runpod.create(gpu_order(name))
    return name


async def serving(store: Store, runpod: FakeRunpod) -> str:
    """The pod that the rented job has now; its name."""
    name = machine_name(await store.rentals.mark(), "job-rent", 1)
    pod = runpod.create(gpu_order(name))
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    known = machine(name=name, machine_id=pod.id, created_at=an_hour_ago, rented_at=an_hour_ago)
    await store.rentals.intend(known)
    await put(store, phase=RentalPhase.RUNNING, machine=name)
    return name


async def test_nobody_who_rents_nothing_is_told_about_keys(opened: OPEN) -> None:
    async with opened() as pilot:
        await show_machines(pilot)
        await pilot.until_seen("no agent yet")
        await pilot.pilot.pause(0.3)
        assert "Rented" not in pilot.text
        assert "API" not in pilot.text


async def test_machines_are_listed_with_their_job_and_cost_and_orphans_stand_first(
    opened: OPEN, store: Store, runpod: FakeRunpod
) -> None:
    await serving(store, runpod)
    await orphan(store, runpod, "aaa-gone")
    runpod.create(gpu_order("somebody-elses"))
    async with opened() as pilot:
        await show_machines(pilot)
        await pilot.until_seen("orphan, ", "$2.39", "the rented one (job-rent)", "aaa-gone")
        await pilot.until_seen("2 rented machines at $4.78/h, 1 of them without a job")
        lines = pilot.text.splitlines()
        rows = [n for n, line in enumerate(lines) if "orphan," in line or "(job-rent)" in line]
        assert "orphan" in lines[rows[0]]
        assert "somebody-elses" not in pilot.text


async def test_an_orphan_is_ended_by_one_key_and_a_yes_until_it_is_gone(
    opened: OPEN, store: Store, runpod: FakeRunpod
) -> None:
    name = await orphan(store, runpod, "gone")
    async with opened() as pilot:
        await show_machines(pilot)
        await pilot.until_seen("orphan, ")
        await pilot.press("x")
        await pilot.until_seen(f"End {name}?", "no open job wants it")
        await pilot.press("n")
        await pilot.until_gone("no open job wants it")
        assert runpod.billing_now() == [name]

        await pilot.press("x")
        await pilot.until_seen(f"End {name}?")
        await pilot.press("y")
        await pilot.until_seen("1 machine ended")
        assert runpod.billing_now() == []
        await pilot.until_gone("orphan, ")


async def test_all_orphans_are_ended_at_once_and_nothing_else(
    opened: OPEN, store: Store, runpod: FakeRunpod
) -> None:
    kept = await serving(store, runpod)
    for job_id in ("gone-a", "gone-b"):
        await orphan(store, runpod, job_id)
    runpod.create(gpu_order("somebody-elses"))
    async with opened() as pilot:
        await show_machines(pilot)
        await pilot.until_seen("2 of them without a job")
        await pilot.press("R")
        await pilot.until_seen("End 2 machines without a job?", "gone-a", "gone-b")
        await pilot.press("y")
        await pilot.until_seen("2 machines ended")
        assert sorted(runpod.billing_now()) == sorted([kept, "somebody-elses"])
        assert "End orphans" not in pilot.text


async def test_a_machine_at_work_is_ended_by_cancelling_its_job(
    opened: OPEN, store: Store, runpod: FakeRunpod
) -> None:
    name = await serving(store, runpod)
    async with opened() as pilot:
        await show_machines(pilot)
        await pilot.until_seen("the rented one (job-rent)")
        await pilot.press("x")
        await pilot.until_seen("it serves the rented one", "The job is cancelled")
        await pilot.press("y")
        await pilot.until_seen("cancelling")
        stored = await store.rentals.get("job-rent")
        assert stored is not None
        assert stored.wish is Wish.CANCEL
        assert runpod.billing_now() == [name], "only the controller ends it"


async def test_where_the_provider_is_away_the_ledgers_view_stands_and_is_called_so(
    opened: OPEN, store: Store, runpod: FakeRunpod
) -> None:
    await serving(store, runpod)
    runpod.revoke_key()
    async with opened() as pilot:
        await show_machines(pilot)
        await pilot.until_seen("the ledger's view: ", "rented", "$2.39", "(job-rent)")


async def test_a_machine_that_does_not_end_is_told_and_stays(
    opened: OPEN, store: Store, runpod: FakeRunpod
) -> None:
    name = await serving(store, runpod)
    known = await store.rentals.machine(name)
    assert known is not None
    ending = replace(known, state=MachineState.ENDING, ending_at=datetime.now(UTC))
    await store.rentals.save_machine(replace(ending, last_error="answered 500"))
    await put(store, phase=RentalPhase.DONE, machine=None)
    async with opened() as pilot:
        await show_machines(pilot)
        await pilot.until_seen("orphan, ending")
        runpod.revoke_key()
        await pilot.press("x")
        await pilot.until_seen(f"End {name}?")
        await pilot.press("y")
        await pilot.until_seen("key")
        assert runpod.billing_now() == [name]
