"""Chooses the machine to rent for a job: what it may cost, where, and what is tried in which order.

Nothing is rented here. The catalogue is asked in a worker; typing asks nobody anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from rich.table import Table
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Button, Footer, Static

from shared.clean_text import clean_line
from shared.errors import BrightRunError, InvalidMachineRequest
from shared.money.month import MonthMoney
from tui.screens.console_screen import ConsoleScreen
from tui.services.model_cache.taken import with_taken
from tui.services.providers.provider import NetworkVolume, Provider
from tui.services.rent_catalogue import RentCatalogue
from tui.services.rent_options import TrainingWork
from tui.services.rent_plan import RentPlan, plan_rent
from tui.services.session import Session
from tui.services.spending.rent_month import counted_usd, month_before
from tui.views.money_lines import month_lines
from tui.views.rent_choice import RentChoice
from tui.views.rent_draft import RentDraft
from tui.views.rent_lines import NOTHING_CHOSEN, estimate_lines
from tui.widgets.candidate_table import CandidateTable
from tui.widgets.rent_form import RentForm

_DEBOUNCE_S = 0.4
_TONES = {"warning": "yellow", "error": "bold red", "dim": "dim"}
_LOOKING = "asking RunPod what is to be had …"


@dataclass(frozen=True)
class Chosen:
    """What the user wants rented, and how it was typed."""

    draft: RentDraft
    plan: RentPlan


class RentScreen(ConsoleScreen[Chosen | None]):
    """Gives the plan with the candidates in the user's order; None for going back."""

    HELP = """
    # Rent a machine

    Machines are tried from the top until one is to be had. J and K move one, space leaves it out.
    Prices and stock are the catalogue's; r asks again. Nothing is rented before a review.
    """
    CSS = """
    RentScreen {
        #title { height: 1; padding: 0 1; background: $panel; color: $text-muted; }
        #rent-body { height: 1fr; }
        RentForm { padding: 0 0 0 1; }
        CandidateTable { height: 1fr; background: $background; }
        #estimate { height: auto; max-height: 45%; padding: 0 1; border-top: solid $panel; }
        #estimate { scrollbar-size-vertical: 1; }
        #rent-bar { height: 1; background: $panel; }
        #rent-status { width: 1fr; height: 1; padding: 0 1; }
        #rent-status { text-wrap: nowrap; text-overflow: ellipsis; }
        #rent-status.-busy { color: $text-accent; }
        #rent-status.-error { color: $text-error; text-style: bold; }
    }
    RentScreen.-wide {
        #rent-body { layout: horizontal; }
        RentForm { width: 44; }
        #offers { width: 1fr; border-left: vkey $panel; }
    }
    RentScreen.-narrow {
        #rent-body { layout: vertical; }
        RentForm { height: 9; }
        #offers { height: 1fr; }
        #estimate { max-height: 4; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "review", "Review"),
        Binding("f5", "refresh_offers", "Look again", show=False),
        Binding("escape", "back", "Back"),
        Binding("q", "back", show=False),
    ]

    @dataclass
    class Planned(Message):
        """What is to be had for a draft."""

        draft: RentDraft
        plan: RentPlan
        volumes: list[NetworkVolume]

    @dataclass
    class Failed(Message):
        """Nothing can be planned, or the provider does not answer."""

        error: BrightRunError

    def __init__(self, session: Session, job: TrainingWork, draft: RentDraft | None = None) -> None:
        super().__init__()
        self._session = session
        self._job = job
        self._form = RentForm(draft or RentDraft())
        self._choice: RentChoice | None = None
        self._planned_for: RentDraft | None = None
        self._catalogue: RentCatalogue | None = None
        self._month: MonthMoney | None = None
        self._error = ""
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        name = clean_line(self._job.spec.name)
        words = (
            ("Rent a machine", "bold $text"),
            f" for {name} · nothing is rented before a review",
        )
        yield Static(Content.assemble(*words), id="title")
        with Container(id="rent-body"):
            yield self._form
            with Vertical(id="offers"):
                yield CandidateTable(id="candidates")
                with VerticalScroll(id="estimate", can_focus=False):
                    yield Static(id="estimate-lines", markup=False)
        with Horizontal(id="rent-bar"):
            yield Button("Review", "primary", id="rent-review", compact=True)
            yield Static(id="rent-status")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self._form.go_to("budget_usd")
        self._look()

    @on(RentForm.Changed)
    def _on_changed(self, message: RentForm.Changed) -> None:
        message.stop()
        if self._timer is not None:
            self._timer.stop()
        if message.draft.can_look:
            self._timer = self.set_timer(_DEBOUNCE_S, self._look)
        self._draw_status()

    def _look(self) -> None:
        """Plan anew with what is typed now."""
        self._error = ""
        if self._form.draft.can_look:
            self._plan(self._form.draft)
        self._draw_status()

    @work(group="plan", exclusive=True)
    async def _plan(self, draft: RentDraft) -> None:
        try:
            if self._catalogue is None:
                self._catalogue = RentCatalogue(self._session.provider())
            volumes = await self._catalogue.volumes()
            # It asks for offers, volumes and data centres, and for nothing else.
            catalogue = cast(Provider, self._catalogue)
            work = await with_taken(self._session.store, self._job)
            plan = await plan_rent(catalogue, draft.wanted(), work)
            self._month = await month_before(self._session.store, self._job.spec.job_id)
        except BrightRunError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Planned(draft, plan, volumes))

    @on(Planned)
    def _on_planned(self, message: Planned) -> None:
        self._planned_for, self._error = message.draft, ""
        self._form.offer_volumes(message.volumes)
        self._take(RentChoice.of(message.plan, self._choice))

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        self._planned_for, self._error = self._form.draft, clean_line(str(message.error))
        self._take(None)
        self.complain(message.error)

    @on(CandidateTable.Changed)
    def _on_order(self, message: CandidateTable.Changed) -> None:
        self._choice = message.choice
        self._draw_estimate()
        self._draw_status()

    def _take(self, choice: RentChoice | None) -> None:
        self._choice = choice
        self.query_one(CandidateTable).show(choice)
        self._draw_estimate()
        self._draw_status()

    def _draw_estimate(self) -> None:
        lines = [] if self._choice is None else estimate_lines(self._choice)
        if self._choice is not None and self._choice.chosen and self._month is not None:
            # Where there is room for it, the review is early enough.
            month = month_lines(self._month, counted_usd(self._choice.chosen_plan))
            lines += [line for line in month if line.tone]
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(ratio=1)
        for line in lines:
            grid.add_row(Text(line.name), Text(line.value, style=_TONES.get(line.tone, "")))
        self.query_one("#estimate-lines", Static).update(grid)

    @property
    def _is_looking(self) -> bool:
        return self._form.draft.can_look and self._planned_for != self._form.draft

    def _trouble(self) -> str:
        """Why it cannot go on to the review; "" if it can."""
        problems = self._form.draft.problems()
        if problems:
            field = next(iter(problems))
            return f"{field}: {problems[field]}"
        if self._error:
            return self._error
        return NOTHING_CHOSEN if self._choice and not self._choice.chosen else ""

    def _draw_status(self) -> None:
        status = self.query_one("#rent-status", Static)
        trouble = self._trouble()
        busy = _LOOKING if self._is_looking else ""
        status.set_class(bool(busy), "-busy")
        status.set_class(bool(trouble) and not busy, "-error")
        words = busy or (f"not yet: {trouble}" if trouble else "ready to review")
        status.update(Content(words), layout=False)

    def action_refresh_offers(self) -> None:
        """Prices and stock as of now."""
        if self._catalogue is not None:
            self._catalogue.forget()
        self._planned_for = None
        self._look()

    @on(Button.Pressed, "#rent-review")
    def action_review(self) -> None:
        """Go on with what is chosen, unless something is wrong."""
        if self._is_looking:
            self.notify(_LOOKING, markup=False)
            return
        if trouble := self._trouble():
            self.complain(InvalidMachineRequest(trouble))
            for field in self._form.draft.problems():
                self._form.go_to(field)
                break
            return
        assert self._choice is not None
        plan = self._choice.chosen_plan
        try:
            plan.require_stock()
        except BrightRunError as error:
            self.complain(error)
        else:
            self.dismiss(Chosen(self._form.draft, plan))

    def action_back(self) -> None:
        self.dismiss(None)
