"""Choosing a machine to rent, against a stand-in for the provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from textual.app import App
from textual.widgets import Input, Select

from tests.fakes.runpod.server import FakeRunpod
from tests.tui.console_pilot import ScreenPilot
from tests.tui.services.rental_work import work
from tui.screens.rent import Chosen, RentScreen
from tui.services.session import Session, open_session
from tui.views.rent_draft import RentDraft
from tui.widgets.candidate_table import CandidateTable
from tui.widgets.rent_form import RentForm

NOT_LEFT = "not left"


class Host(App[None]):
    """Opens the screen, and keeps what it gives."""

    def __init__(self, session: Session, draft: RentDraft | None) -> None:
        super().__init__()
        self.rent = RentScreen(session, work(), draft)
        self.result: Chosen | str | None = NOT_LEFT

    def on_mount(self) -> None:
        self.push_screen(self.rent, self._keep)

    def _keep(self, result: Chosen | None) -> None:
        self.result = result


class RentPilot(ScreenPilot[Host]):
    """The screen, with a hand on its fields."""

    async def type(self, field: str, text: str) -> None:
        editor = self.app.rent.query_one(f"#row-{field} Input", Input)
        editor.value = text
        await self.pilot.pause()

    async def choose(self, field: str, value: str) -> None:
        select: Select[str] = self.app.rent.query_one(f"#row-{field} Select", Select)
        select.value = value
        await self.pilot.pause()

    @property
    def labels(self) -> list[str]:
        """What would be tried, in order."""
        choice = self.app.rent._choice
        assert choice is not None
        return [option.candidate.label for option in choice.chosen]

    async def to_table(self) -> None:
        self.app.rent.query_one(CandidateTable).focus()
        await self.pilot.pause()

    @property
    def chosen(self) -> Chosen:
        assert isinstance(self.app.result, Chosen)
        return self.app.result


OPEN = Callable[..., AbstractAsyncContextManager[RentPilot]]


@pytest.fixture
def opened(home: Any) -> OPEN:
    @asynccontextmanager
    async def open_with(
        draft: RentDraft | None = None, size: tuple[int, int] = (140, 40)
    ) -> AsyncIterator[RentPilot]:
        async with open_session() as session:
            app = Host(session, draft)
            async with app.run_test(size=size, notifications=True) as pilot:
                rent = RentPilot(app, pilot)
                await rent.until(lambda: app.rent.query(RentForm))
                yield rent

    return open_with


async def test_offers_are_shown_before_a_budget_is_typed_and_nothing_goes_on_without_one(
    opened: OPEN, runpod: FakeRunpod
) -> None:
    async with opened() as rent:
        await rent.until_seen("A100_80GB", "H100_PCIE", "not yet: budget_usd: must be dollars")
        await rent.press("ctrl+s")
        await rent.pilot.pause()
        assert rent.app.result == NOT_LEFT
        assert runpod.billing_now() == []


async def test_the_plan_is_given_in_the_users_order_without_what_was_switched_off(
    opened: OPEN, runpod: FakeRunpod
) -> None:
    async with opened(RentDraft(budget_usd="40", gpus="H100_PCIE H100_SXM A100_80GB")) as rent:
        await rent.until_seen("ready to review", "tried first", "expected cost")
        before = rent.labels
        assert [label.split()[0] for label in before] == ["H100_PCIE", "H100_SXM", "A100_80GB"]

        await rent.to_table()
        await rent.press("J", "J")
        assert rent.labels == [before[1], before[2], before[0]]
        await rent.press("K")
        await rent.press("space")
        assert rent.labels == [before[1], before[2]]
        await rent.press("ctrl+s")
        await rent.until(lambda: rent.app.result != NOT_LEFT)
        assert [option.candidate.label for option in rent.chosen.plan.options] == before[1:]
        assert rent.chosen.plan.wanted.budget_usd == 40


async def test_typing_a_budget_asks_the_provider_nothing_anew(
    opened: OPEN, runpod: FakeRunpod
) -> None:
    async with opened(RentDraft(budget_usd="40")) as rent:
        await rent.until_seen("ready to review")
        asked = len(runpod.requests)
        await rent.type("budget_usd", "0.5")
        await rent.until_seen("The budget of $0.50 is too small")
        await rent.type("budget_usd", "60")
        await rent.until_seen("ready to review")
        assert len(runpod.requests) == asked
        await rent.press("f5")
        await rent.until(lambda: len(runpod.requests) > asked)
        await rent.until_seen("ready to review")


async def test_the_order_of_hand_survives_another_look(opened: OPEN, runpod: FakeRunpod) -> None:
    async with opened(RentDraft(budget_usd="40")) as rent:
        await rent.until_seen("ready to review")
        await rent.to_table()
        await rent.press("J")
        moved = rent.labels
        asked = len(runpod.calls("GET", "catalog"))
        await rent.press("r")
        await rent.until(lambda: len(runpod.calls("GET", "catalog")) > asked)
        await rent.until_seen("ready to review")
        assert rent.labels == moved


async def test_a_volume_that_is_there_binds_the_machines_to_its_data_centre(
    opened: OPEN, runpod: FakeRunpod
) -> None:
    order = {"name": "weights", "size": 200, "dataCenter": "EU-RO-1"}
    volume = runpod.create_volume(order)
    async with opened(RentDraft(budget_usd="40")) as rent:
        await rent.until_seen("ready to review", "Without a network volume")
        await rent.choose("volume", volume["id"])
        await rent.until(lambda: all(label.endswith("EU-RO-1") for label in rent.labels))
        await rent.until_seen("ready to review", "200 GB in EU-RO-1")
        assert "Without a network volume" not in rent.text
        await rent.press("ctrl+s")
        await rent.until(lambda: rent.app.result != NOT_LEFT)
        assert rent.chosen.plan.request().network_volume_id == volume["id"]


async def test_a_new_volume_is_shown_with_its_price_and_not_made(
    opened: OPEN, runpod: FakeRunpod
) -> None:
    async with opened(RentDraft(budget_usd="40")) as rent:
        await rent.until_seen("ready to review")
        await rent.choose("volume", "new")
        await rent.type("volume_gb", "300")
        await rent.until_seen("300 GB in", "a month", "to be made")
        await rent.press("ctrl+s")
        await rent.until(lambda: rent.app.result != NOT_LEFT)
        assert rent.chosen.plan.new_volume is not None
        assert not runpod.calls("POST", "volumes")


async def test_without_a_key_it_says_what_to_do(
    opened: OPEN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    async with opened(RentDraft(budget_usd="40")) as rent:
        await rent.until_seen("RUNPOD_API_KEY")
        await rent.press("escape")
        await rent.until(lambda: rent.app.result is None)


async def test_a_provider_that_is_away_is_asked_again_by_a_key(
    opened: OPEN, runpod: FakeRunpod
) -> None:
    runpod.faults.add(method="GET", path="network-volumes", status=503, times=None)
    async with opened(RentDraft(budget_usd="40")) as rent:
        await rent.until_seen("not yet:")
        await rent.until_gone("asking RunPod")
        runpod.faults.clear()
        await rent.press("f5")
        await rent.until_seen("ready to review")


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("max_hours", "1000", "must be hours, from 0.1 to 720"),
        ("gpus", "H900", "is no GPU type at RunPod"),
        ("gpu_count", "9", "must be a whole number from 1 to 8"),
        ("wait_hours", "x", "must be hours, from 0 to 168"),
    ],
)
async def test_what_cannot_be_is_said_beside_the_field(
    opened: OPEN, runpod: FakeRunpod, field: str, text: str, words: str
) -> None:
    async with opened(RentDraft(budget_usd="40")) as rent:
        await rent.until_seen("ready to review")
        await rent.type(field, text)
        await rent.until_seen(f"not yet: {field}:", words)
        await rent.press("ctrl+s")
        assert rent.app.result == NOT_LEFT


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (1, 1)])
async def test_it_fits_small_terminals(
    opened: OPEN, runpod: FakeRunpod, size: tuple[int, int]
) -> None:
    async with opened(RentDraft(budget_usd="40"), size=size) as rent:
        await rent.until(lambda: rent.app.rent._choice)
        await rent.pilot.pause()
        if size == (80, 24):
            await rent.until_seen("budget_usd", "A100_80GB", "tried first", "ready to review")
