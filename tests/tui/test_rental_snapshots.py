"""What a rented job looks like, as `test_snapshots` does for every other screen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.rental import MachineState, RentalPhase
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.console_pilot import ConsolePilot
from tests.tui.rented import BEGIN, add_rented_job, machine, put
from tests.tui.services.rental_work import work
from tests.tui.test_snapshots import Prepare, size, snapshot_of
from tui.screens.leave import LeaveScreen
from tui.screens.rent import RentScreen
from tui.views.rent_draft import RentDraft

__all__ = ["size", "snapshot_of"]  # fixtures


@pytest.fixture(autouse=True)
def unled(runpod: FakeRunpod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that never changes; nobody acts for rented jobs."""

    async def nobody(*_: object) -> None:
        """Control nothing."""

    monkeypatch.setattr("tui.rental_desk.RentalDesk._control", nobody)


async def job_that_asks(opened: ConsolePilot) -> None:
    """It has lost two machines, at times that are always the same."""
    session = opened.app.session
    assert session is not None
    store = session.store
    await add_rented_job(store, name="empathy, rented")
    for number in (1, 2):
        begin = BEGIN + timedelta(hours=2 * number)
        lost = machine(
            number=number,
            state=MachineState.GONE,
            created_at=begin,
            rented_at=begin,
            ending_at=begin + timedelta(hours=1),
            gone_at=begin + timedelta(hours=1),
            end_reason="the provider lists it no more",
        )
        await store.rentals.intend(lost)
        await store.rentals.note("job-rent", begin, f"rented {lost.label} as pod-{number}")
    question = "3 machines were lost. Answer 'go on' to rent another one, or cancel the job."
    reason = "3 machines were lost"
    await put(
        store,
        phase=RentalPhase.ASKING,
        question=question,
        reason=reason,
        interruptions=3,
        since=BEGIN,
    )
    opened.app.look_for_jobs()
    await opened.until(lambda: "job-rent" in opened.app.news and opened.app.rentals.sights)
    opened.app.open_job(opened.app.news["job-rent"].job)
    await opened.until(lambda: opened.job_screen.history)
    await opened.until_seen("a answers:")
    opened.app.clear_notifications()


async def job_machines(opened: ConsolePilot) -> None:
    await job_that_asks(opened)
    await opened.press("6")
    await opened.until_seen("tried first", "gone")


async def answer(opened: ConsolePilot) -> None:
    await job_that_asks(opened)
    await opened.press("a")
    await opened.until_seen("Rent another machine")


async def leave(opened: ConsolePilot) -> None:
    await job_that_asks(opened)
    await opened.app.push_screen(LeaveScreen(opened.app.rentals))
    await opened.until_seen("Leave the console?")


async def rent(opened: ConsolePilot) -> None:
    assert opened.app.session is not None
    await opened.app.push_screen(RentScreen(opened.app.session, work(), RentDraft(budget_usd="40")))
    await opened.until_seen("ready to review", "tried first")
    opened.app.screen.set_focus(None)


@pytest.mark.parametrize(
    "prepare", [job_that_asks, job_machines, answer, leave, rent], ids=lambda item: item.__name__
)
def test_the_screen_looks_as_before(
    snapshot_of: Callable[[Prepare], bool], prepare: Prepare
) -> None:
    assert snapshot_of(prepare)
