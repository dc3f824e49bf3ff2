"""From the form of a new job to a rented job in the ledger; the provider is a stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.runpod.server import FakeRunpod
from tests.tui.local_console import Console
from tests.tui.screens.new_job_form import NOT_LEFT, NewJobForm, open_form
from tui.screens.confirm import ConfirmScreen
from tui.screens.new_job import NewJobScreen
from tui.screens.rent import RentScreen
from tui.screens.review import ReviewScreen
from tui.views.job_draft import JobDraft


@pytest.fixture
def draft(tmp_path: Path) -> JobDraft:
    return JobDraft(dataset=str(Console(tmp_path).dataset), host="runpod")


async def to_rent(form: NewJobForm, budget: str = "12") -> None:
    """Go on from the form, and type a budget."""
    await form.until_seen("rented: the machine is chosen")
    await form.press("ctrl+s")
    await form.until_on(RentScreen)
    await form.press(*budget)
    await form.until_seen("ready to review")


async def test_what_is_reviewed_is_written_down_and_nothing_is_rented_by_the_form(
    runpod: FakeRunpod, draft: JobDraft
) -> None:
    async with open_form(draft, size=(150, 50)) as form:
        await to_rent(form)
        await form.press("ctrl+s")
        await form.until_on(ReviewScreen)
        await form.until_seen("Rent a machine for up to $12.00 and start?", "1. machine")
        await form.until_seen("Without a network volume", "for all machines of the job together")
        await form.press("enter")
        await form.until(lambda: form.app.result != NOT_LEFT)
        assert form.app.result is not None
        job = await form.session.store.get_job(form.app.result)
        stored = await form.session.store.rentals.get(job.job_id)
        assert (job.host, job.state.rented) == (f"runpod:{job.job_id}", True)
        assert stored is not None
        assert (stored.request.budget_usd, stored.request.network_volume_id) == (12, None)
        assert runpod.billing_now() == []


async def test_going_back_keeps_what_was_typed_and_starts_nothing(
    runpod: FakeRunpod, draft: JobDraft
) -> None:
    async with open_form(draft) as form:
        await to_rent(form)
        await form.press("ctrl+s")
        await form.until_on(ReviewScreen)
        await form.press("escape")
        await form.until_on(NewJobScreen)
        await form.press("ctrl+s")
        await form.until_on(RentScreen)
        await form.until_seen("12", "ready to review")
        await form.press("escape")
        await form.until_on(NewJobScreen)
        await form.until_seen("ready to review")
        assert await form.session.store.list_jobs() == []


async def test_a_new_volume_is_made_only_after_a_yes_to_its_price(
    runpod: FakeRunpod, draft: JobDraft
) -> None:
    async with open_form(draft) as form:
        await to_rent(form)
        form.app.screen.query_one("#row-volume Select").value = "new"  # type: ignore[attr-defined]
        await form.until_seen("to be made")
        await form.until_seen("ready to review")
        for answer in ("n", "y"):
            if answer == "y":
                await form.until_on(NewJobScreen)
                await form.press("ctrl+s")
                await form.until_on(RentScreen)
                await form.until_seen("to be made", "ready to review")
            await form.press("ctrl+s")
            await form.until_on(ReviewScreen)
            await form.press("enter")
            await form.until_on(ConfirmScreen)
            await form.until_seen("Make a network volume?", "$3.50")
            assert not runpod.calls("POST", "volumes")
            await form.press(answer)
        await form.until(lambda: form.app.result != NOT_LEFT)
        assert len(runpod.calls("POST", "volumes")) == 1
        stored = await form.session.store.rentals.get(str(form.app.result))
        assert stored is not None
        assert stored.request.network_volume_id is not None


async def test_a_volume_whose_answer_was_lost_is_not_made_twice(
    runpod: FakeRunpod, draft: JobDraft
) -> None:
    runpod.faults.add(method="POST", path="volumes", status=500, after_doing=True)
    async with open_form(draft) as form:
        await to_rent(form)
        form.app.screen.query_one("#row-volume Select").value = "new"  # type: ignore[attr-defined]
        await form.until_seen("to be made")
        await form.until_seen("ready to review")
        await form.press("ctrl+s")
        await form.until_on(ReviewScreen)
        await form.press("enter")
        await form.until_on(ConfirmScreen)
        await form.press("y")
        await form.until(lambda: form.app.result != NOT_LEFT)
        assert len(await form.session.provider().volumes()) == 1
