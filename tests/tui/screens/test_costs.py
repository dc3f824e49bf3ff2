"""The Costs screen on a real store, at noon of a day that is always the same."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from textual.widgets import Input

from shared.errors import StoreError
from shared.rental import MachineState, RentalPhase
from shared.store.store import Store, open_store
from tests.tui.console_pilot import ConsolePilot, open_app
from tests.tui.hostile import HOSTILE, SEEN, harm_on
from tests.tui.local_console import Console
from tests.tui.rented import machine, put
from tests.tui.screens.rental import OPEN, console, opened
from tests.tui.spending import NOW, add_job, add_machine, spend
from tui.screens.costs import CostsScreen
from tui.screens.job import JobScreen
from tui.screens.typed_line import TypedLineScreen
from tui.services.cost_report import CostReport
from tui.widgets import cost_table
from tui.widgets.cost_table import CostTable

__all__ = ["console", "opened"]  # fixtures


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.costs.utc_now", lambda: NOW)
    monkeypatch.setattr("tui.services.spending.costs.utc_now", lambda: NOW)


@pytest.fixture
async def store(console: Console) -> AsyncIterator[Store]:
    """The one that the console reads: what was spent, and one job that nobody has paid for."""
    async with open_store(console.home / "brightrun.db") as made:
        await spend(made)
        await add_job(made, "job-rent", "the rented one", "rent")
        yield made


async def show_costs(pilot: ConsolePilot) -> CostsScreen:
    await pilot.press("dollar_sign")
    await pilot.until_seen("November 2026")
    assert isinstance(pilot.app.screen, CostsScreen)
    return pilot.app.screen


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_it_fits_a_terminal_of_any_usual_size(opened: OPEN, size: tuple[int, int]) -> None:
    async with opened(size) as pilot:
        await show_costs(pilot)
        await pilot.until_seen(
            "Costs  $73.18 · machines $65.06 · storage $8.11 · 33.5 GPU hours · 2 jobs",
            "30 days",
            "by GPU",
            "November 2026: $73.18 of $500.00",
            "more at most",
            "past estimates",
            "the bill: job-elena, machine 2: billed $36.40",
            "dollars a day",
            "2026-11-20",
            "esc Back",
        )


async def test_periods_and_groupings_have_keys(opened: OPEN) -> None:
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.press("7")
        await pilot.until_seen("Costs  $16.12", "5.5 GPU hours")
        await pilot.press("9", "j")
        await pilot.until_seen("no tag at all", "job-plain", "storage: llama cache")
        await pilot.press("t")
        await pilot.until_seen("(none)", "empathy")
        await pilot.press("g")
        await pilot.until_seen("A100_80GB", "$32.80")
        await pilot.press("d")
        await pilot.until_seen("DAY", "2026-11-18")
        await pilot.press("p", "b")
        await pilot.until_seen("Costs  $16.12", "pension anxiety")


async def test_the_picture_is_each_day_or_the_month_added_up(opened: OPEN) -> None:
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.until_seen("dollars a day", "the limit's pace, $16.67")
        await pilot.press("m")
        await pilot.until_seen("dollars of November, added up", "the limit, $500.00", "░")
        await pilot.press("m")
        await pilot.until_seen("dollars a day")


async def test_the_limit_is_set_and_a_wrong_one_is_not(opened: OPEN, store: Store) -> None:
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.press("l")
        await pilot.until(lambda: isinstance(pilot.app.screen, TypedLineScreen))
        typed = pilot.app.screen.query_one(Input)
        assert typed.value == "500"
        typed.value = "12,50"
        await pilot.press("enter")
        await pilot.until_seen("'12,50': the monthly limit is in dollars")
        typed.value = "80"
        await pilot.press("enter")
        await pilot.until_seen("of $80.00", "91%")
        assert await store.settings.monthly_limit_usd() == 80.0
        await pilot.press("l", "escape")
        await pilot.until(lambda: isinstance(pilot.app.screen, CostsScreen))
        assert await store.settings.monthly_limit_usd() == 80.0


async def test_the_days_are_exported_into_a_new_file(opened: OPEN, tmp_path: Path) -> None:
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.press("e")
        await pilot.until(lambda: isinstance(pilot.app.screen, TypedLineScreen))
        typed = pilot.app.screen.query_one(Input)
        assert typed.value == "brightrun-costs-2026-11-20-30-days.csv"
        taken = tmp_path / "taken.csv"
        taken.write_text("mine")
        typed.value = str(taken)
        await pilot.press("enter")
        await pilot.until_seen("there already")
        path = tmp_path / "costs.csv"
        typed.value = str(path)
        await pilot.press("enter")
        await pilot.until_seen("written: ")
        assert len(list(csv.DictReader(path.read_text().splitlines()))) == 24
        assert taken.read_text() == "mine"


async def test_a_machine_that_is_rented_meanwhile_appears_by_itself(
    opened: OPEN, store: Store
) -> None:
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.press("j")
        await pilot.until_seen("pension anxiety")
        table = pilot.app.screen.query_one(CostTable)
        await pilot.press("down")
        under = table.key_under_cursor
        begin = NOW - timedelta(hours=30)
        started = machine(state=MachineState.RENTED, created_at=begin, rented_at=begin)
        await store.rentals.intend(started)
        await put(store, phase=RentalPhase.RUNNING, machine=started.name)
        await pilot.until_seen("the rented one", "$71.70")
        assert table.key_under_cursor == under == "job-pension"


async def test_what_runs_costs_more_without_any_news(
    opened: OPEN, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.costs._WHILE_PAID_S", 0.2)
    started = machine(state=MachineState.RENTED, created_at=NOW, rented_at=NOW)
    await store.rentals.intend(started)
    await put(store, phase=RentalPhase.RUNNING, machine=started.name)
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.until_seen("Costs  $73.18")
        for name in ("tui.screens.costs.utc_now", "tui.services.spending.costs.utc_now"):
            monkeypatch.setattr(name, lambda: NOW + timedelta(hours=1))
        await pilot.until_seen("Costs  $75.57")


async def test_enter_opens_the_job_of_a_row_and_back_comes_here(opened: OPEN) -> None:
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.press("enter")  # A day is no job.
        await pilot.press("j")
        await pilot.until_seen("storage: llama cache")
        await pilot.press("enter")
        await pilot.until(lambda: isinstance(pilot.app.screen, JobScreen))
        assert pilot.job_screen.chosen_job().job_id == "job-elena"  # type: ignore[union-attr]
        await pilot.press("escape")
        await pilot.until(lambda: isinstance(pilot.app.screen, CostsScreen))
        await pilot.press("escape")
        await pilot.until_gone("November 2026")


async def test_the_palette_leads_here(opened: OPEN) -> None:
    async with opened() as pilot:
        await pilot.press("ctrl+p")
        await pilot.press(*"costs")
        await pilot.until_seen("What was spent")
        await pilot.press("enter")
        await pilot.until(lambda: isinstance(pilot.app.screen, CostsScreen))


async def test_its_keys_stand_in_the_help(opened: OPEN) -> None:
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.press("question_mark")
        await pilot.until_seen("7 days", "by our own ledger")


async def test_hostile_names_and_tags_harm_nothing(opened: OPEN, store: Store) -> None:
    await add_job(store, "job-odd", SEEN + HOSTILE[-70:], HOSTILE)
    await add_machine(store, "job-odd", NOW - timedelta(hours=9), 8.0, label=HOSTILE)
    async with opened((160, 50)) as pilot:
        await show_costs(pilot)
        for key, seen in (("j", SEEN), ("t", SEEN), ("g", "[/]"), ("d", "2026-11-20")):
            await pilot.press(key)
            await pilot.until_seen(seen)
            assert harm_on(pilot.app) == []


async def test_dearest_rows_are_shown_and_the_rest_is_counted(
    opened: OPEN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_table, "MOST_ROWS", 2)
    async with opened() as pilot:
        await show_costs(pilot)
        await pilot.press("9", "j")
        await pilot.until_seen("2 cheaper rows are left out")
        assert pilot.app.screen.query_one(CostTable).row_count == 2


async def test_a_store_that_cannot_be_read_is_said_and_what_is_shown_stays(
    opened: OPEN, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> CostReport:
        raise StoreError("the database is locked.")

    async with opened() as pilot:
        screen = await show_costs(pilot)
        monkeypatch.setattr("tui.screens.costs.read_cost_report", fails)
        screen._is_stale = True
        await pilot.until_seen("the database is locked", "$73.18")


async def test_an_empty_history_says_so(console: Console) -> None:
    async with open_app(console) as pilot:
        await show_costs(pilot)
        await pilot.until_seen(
            "$0.00 of $500.00",
            "nothing was paid for in this time",
            "No rented machine or volume has cost anything",
        )
        assert "nan" not in pilot.text.lower()
