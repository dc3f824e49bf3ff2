"""A new job like one that is there, its machine's wishes included."""

from __future__ import annotations

from shared.lifecycle import Activity
from shared.store.store import Store
from tests.tui.rented import add_rented_job
from tests.tui.screens.rental import OPEN, console, opened, runpod, store
from tui.screens.new_job import NewJobScreen

__all__ = ["console", "opened", "runpod", "store"]


async def test_the_form_of_a_clone_knows_what_was_rented(opened: OPEN, store: Store) -> None:
    async with opened() as pilot:
        await pilot.press("N")
        await pilot.until(lambda: isinstance(pilot.app.screen, NewJobScreen))
        form = pilot.app.screen
        assert isinstance(form, NewJobScreen)
        assert (form.draft.host, form.draft.name, form.draft.retry_of) == (
            "runpod",
            "the rented one",
            None,
        )
        assert form.rent_draft is not None
        assert (form.rent_draft.budget_usd, form.rent_draft.volume) == ("20", "vol-1")
        assert form.rent_draft.gpus == "H100_PCIE, A100_80GB"


async def test_the_palette_offers_to_clone_the_chosen_job(opened: OPEN, store: Store) -> None:
    async with opened() as pilot:
        await pilot.press("ctrl+p", *"clone")
        await pilot.until_seen("Clone the rented one")
        await pilot.press("enter")
        await pilot.until(lambda: isinstance(pilot.app.screen, NewJobScreen))


async def test_a_rented_job_that_waits_stands_in_the_line_and_can_be_moved(
    opened: OPEN, store: Store
) -> None:
    await add_rented_job(store, "job-next", name="the next one")
    for job_id in ("job-rent", "job-next"):
        await store.note_activity(job_id, Activity.WAITING_FOR_TURN, "3 jobs at work")
    async with opened() as pilot:
        await pilot.until_seen("queued 2 of 2")
        await pilot.press("up", "up", "P")

        def is_first() -> bool:
            lines = [line for line in pilot.text.splitlines() if "the next one" in line]
            return any("queued 1 of 2" in line for line in lines)

        await pilot.until(is_first)
