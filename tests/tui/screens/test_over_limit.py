"""The monthly limit on the screens: a line of the review, a reason that is asked for, a notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.events import utc_now
from shared.money.records import MoneyNotice, NoticeScope
from shared.store.store import Store
from shared.store.store_settings import MONTHLY_LIMIT_USD
from tests.fakes.runpod.server import FakeRunpod
from tests.tui.console_pilot import open_app
from tests.tui.hostile import HOSTILE, harm_on
from tests.tui.local_console import Console
from tests.tui.screens.new_job_form import NOT_LEFT, open_form
from tests.tui.screens.rental import OPEN, console, opened, store
from tui.screens.new_job import NewJobScreen
from tui.screens.over_limit import OverLimitScreen
from tui.screens.rent import RentScreen
from tui.screens.review import ReviewScreen
from tui.views.job_draft import JobDraft

__all__ = ["console", "opened", "store"]  # fixtures


@pytest.fixture
def draft(tmp_path: Path) -> JobDraft:
    return JobDraft(dataset=str(Console(tmp_path).dataset), host="runpod")


async def test_beyond_the_limit_a_reason_is_asked_for_and_without_one_nothing_is_rented(
    runpod: FakeRunpod, draft: JobDraft
) -> None:
    async with open_form(draft, size=(150, 60)) as form:
        await form.session.store.settings.put(MONTHLY_LIMIT_USD, 0.01)
        await form.until_seen("rented: the machine is chosen")
        for reason in ("", "the client waits"):
            await form.press("ctrl+s")
            await form.until_on(RentScreen)
            if not reason:
                await form.press("1", "2")
            await form.until_seen("ready to review")
            await form.press("ctrl+s")
            await form.until_on(ReviewScreen)
            await form.until_seen("this month", "Beyond 100% of the monthly limit")
            await form.press("enter")
            await form.until_on(OverLimitScreen)
            await form.until_seen("Rent beyond the monthly limit?", "is expected to cost $")
            await form.press("enter")
            await form.until_seen("Type the reason first.")
            if not reason:
                await form.press("escape")
                await form.until_on(NewJobScreen)
                assert await form.session.store.list_jobs() == []
                assert await form.session.store.spending.overrides() == []
        await form.press(*reason, "enter")
        await form.until(lambda: form.app.result != NOT_LEFT)
        [override] = await form.session.store.spending.overrides()
        assert (override.job_id, override.reason) == (form.app.result, "the client waits")


async def test_a_share_of_the_budget_is_a_notice_wherever_the_user_looks(
    opened: OPEN, store: Store
) -> None:
    async with opened() as pilot:
        await pilot.until_seen("the rented one")
        words = f"80% of the budget is spent: $8.00 of $10.00. {HOSTILE}"
        notice = MoneyNotice(NoticeScope.JOB, "job-rent", 0.8, utc_now(), words)
        await store.spending.tell_once(notice)

        await pilot.until_seen("the rented one: 80% of the budget is spent")
        assert harm_on(pilot.app) == []


async def test_what_was_told_before_the_console_was_opened_is_no_news(
    console: Console, store: Store
) -> None:
    before = MoneyNotice(NoticeScope.MONTH, "2026-11 500.00", 1.0, utc_now(), "100% of it")
    await store.spending.tell_once(before)
    async with open_app(console) as pilot:
        later = MoneyNotice(NoticeScope.MONTH, "2026-12 500.00", 0.8, utc_now(), "80% of it")
        await store.spending.tell_once(later)
        await pilot.until_seen("monthly limit: 80% of it")
        assert "100% of it" not in pilot.text
