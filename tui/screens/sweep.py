"""Jobs beside each other: a table, and their curves in one picture; of a sweep, or any jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable, Footer, Static

from shared.clean_text import clean_line
from shared.errors import BrightRunError
from shared.number_text import many, usd
from shared.sweep import Sweep
from tui.screens.confirm import ConfirmScreen
from tui.screens.console_screen import ConsoleScreen
from tui.services.comparison import Comparison, compare
from tui.services.feed import JobNews
from tui.services.session import Session
from tui.services.sweeps import cancel_sweep
from tui.terminal_encoding import terminal_is_unicode
from tui.views.comparison import BEST_SIGN, MARKS, drawn_at_first, mark_of, rows_of
from tui.widgets.comparison_table import ComparisonTable
from tui.widgets.overlaid_chart import OverlaidChart

_INTERVAL_S = 1.0
_OWN_PACE_S = 5.0
"""Costs and hours grow without any news."""
_MOST_TABLE_ROWS = 9
_FREE = ""
"""In the place of a job whose letter another may have."""


class SweepScreen(ConsoleScreen[None]):
    """Leaving it does nothing to the jobs."""

    HELP = """
    # Sweep

    The jobs of a sweep, the best held-out loss first. The letters before them are those in the
    curves: up to eight jobs are drawn, and Space chooses which.
    """
    CSS = """
    SweepScreen {
        #sweep-title { height: 1; padding: 0 1; }
        #sweep-why { height: auto; max-height: 2; padding: 0 1; color: $text-error; display: none; }
        ComparisonTable { height: auto; }
        OverlaidChart { height: 1fr; min-height: 5; padding: 0 1; margin: 1 0 0 0; }
    }
    SweepScreen.-why #sweep-why { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("m", "next_curve", "Curve", tooltip="Loss, held-out loss, both"),
        Binding("x", "next_axis", "Axis", tooltip="Against steps, epochs or tokens"),
        Binding("s", "next_smoothing", "Smoothing", show=False),
        Binding("b", "next_marker", "Dots", show=False, tooltip="Braille, blocks or ASCII"),
        Binding("space", "switch", "Draw", tooltip="Draw this job's curves, or not"),
        Binding("c", "cancel_sweep", "Cancel all", tooltip="Stop all jobs that have not ended"),
    ]

    @dataclass
    class Compared(Message):
        """What the store has of the jobs."""

        comparison: Comparison
        spent_usd: float | None

    def __init__(self, session: Session, sweep: Sweep | None, job_ids: Sequence[str] = ()) -> None:
        """`sweep`, or else the jobs of these ids."""
        super().__init__()
        self._session = session
        self._sweep = sweep
        self._job_ids = tuple(job_ids)
        self._comparison = Comparison(())
        self._spent_usd: float | None = None
        self._drawn: list[str] = []
        self._has_chosen = False
        """Whether the user has said which jobs are drawn."""
        self._is_stale = True

    def compose(self) -> ComposeResult:
        yield Static(id="sweep-title", markup=False)
        yield ComparisonTable(id="comparison")
        yield Static(id="sweep-why", markup=False)
        yield OverlaidChart(id="overlay")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.console.job_news.subscribe(self, self._on_news)
        self.set_interval(_INTERVAL_S, self._look)
        self.set_interval(_OWN_PACE_S, self._make_stale)
        if not terminal_is_unicode():
            self.query_one(OverlaidChart).marker = "ascii"
        self._look()

    def _on_news(self, news: JobNews) -> None:
        known = {each.job.job_id for each in self._comparison.jobs}
        self._is_stale = self._is_stale or news.job.job_id in known

    def _make_stale(self) -> None:
        self._is_stale = self._is_stale or not self._has_ended

    def _look(self) -> None:
        """At most once a second, and not while another screen is on top."""
        if self.is_seen and self._is_stale:
            self._is_stale = False
            self._compare()

    @work(exclusive=True, group="compare")
    async def _compare(self) -> None:
        store, now, spent = self._session.store, datetime.now(UTC), None
        try:
            if self._sweep is None:
                jobs = [await store.get_job(job_id) for job_id in self._job_ids]
            else:
                jobs = await store.sweeps.jobs(self._sweep.sweep_id)
                if self._sweep.budget_usd is not None:
                    money = await store.sweeps.money(self._sweep.sweep_id, now)
                    spent = sum(each.spent_usd for each in money.values())
            comparison = await compare(store, jobs, now)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.post_message(self.Compared(comparison, spent))

    @on(Compared)
    def _on_compared(self, message: Compared) -> None:
        self._comparison, self._spent_usd = message.comparison, message.spent_usd
        if not self._has_chosen:
            # Letters stay with their jobs while places in the table change.
            fresh = [each for each in drawn_at_first(self._comparison) if each not in self._drawn]
            self._drawn = (self._drawn + fresh)[: len(MARKS)]
        self._draw()
        self.refresh_bindings()

    def _draw(self) -> None:
        table = self.query_one(ComparisonTable)
        rows = rows_of(self._comparison, self._drawn)
        table.show(rows)
        table.styles.max_height = min(max(len(rows), 1), _MOST_TABLE_ROWS) + 1
        chart = self.query_one(OverlaidChart)
        chart.show(
            {
                mark_of(each.job.job_id, self._drawn): each.points
                for each in self._comparison.jobs
                if each.job.job_id in self._drawn
            }
        )
        self.query_one("#sweep-title", Static).update(self._title())
        self._draw_why()

    def _title(self) -> Text:
        jobs = self._comparison.jobs
        name = "Comparison" if self._sweep is None else clean_line(self._sweep.name)
        ended = sum(each.job.status.is_final for each in jobs)
        words = f"  {many(len(jobs), 'job')}, {ended} ended"
        if self._sweep is not None and self._sweep.budget_usd is not None:
            words += f", {usd(self._spent_usd or 0.0)} of {usd(self._sweep.budget_usd)} spent"
        best = f"  {BEST_SIGN} best held-out loss" if self._comparison.best else ""
        line = Text.assemble((name, "bold"), words, (best, "dim"))
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    @on(ComparisonTable.Highlighted)
    def _draw_why(self) -> None:
        """Why the job under the cursor failed, if it did."""
        row = self.query_one(ComparisonTable).row_under_cursor
        why = "" if row is None else row.why
        self.set_class(bool(why), "-why")
        self.query_one("#sweep-why", Static).update(Text(why))

    @property
    def _has_ended(self) -> bool:
        jobs = self._comparison.jobs
        return bool(jobs) and all(each.job.status.is_final for each in jobs)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A sweep can be cancelled while one of its jobs has not ended."""
        return action != "cancel_sweep" or (self._sweep is not None and not self._has_ended)

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        row = self.query_one(ComparisonTable).row_under_cursor
        found = [e.job for e in self._comparison.jobs if row and e.job.job_id == row.job_id]
        if found:
            self.console.open_job(found[0])

    def action_back(self) -> None:
        """Where one came from; the jobs go on."""
        self.dismiss()

    def action_switch(self) -> None:
        """Draw the curves of the job under the cursor, or not any more."""
        row = self.query_one(ComparisonTable).row_under_cursor
        if row is None:
            return
        self._has_chosen = True
        # A letter that is given back is free; the others keep theirs.
        if row.job_id in self._drawn:
            self._drawn[self._drawn.index(row.job_id)] = _FREE
        elif _FREE in self._drawn:
            self._drawn[self._drawn.index(_FREE)] = row.job_id
        elif len(self._drawn) < len(MARKS):
            self._drawn.append(row.job_id)
        else:
            self.notify(f"At most {len(MARKS)} jobs are drawn: take one away first.")
        self._draw()

    def action_next_curve(self) -> None:
        """Loss, held-out loss, both."""
        self.query_one(OverlaidChart).show_next()

    def action_next_axis(self) -> None:
        """Steps, epochs, tokens."""
        self.query_one(OverlaidChart).take_next_axis()

    def action_next_smoothing(self) -> None:
        """Some, much, none."""
        self.query_one(OverlaidChart).take_next_smoothing()

    def action_next_marker(self) -> None:
        """Other characters, where a font has no braille."""
        self.query_one(OverlaidChart).take_next_marker()

    @work(group="cancel", exclusive=True)
    async def action_cancel_sweep(self) -> None:
        """Ask, then cancel all jobs that have not ended."""
        sweep = self._sweep
        if sweep is None:
            return
        running = sum(not each.job.status.is_final for each in self._comparison.jobs)
        question = f"Cancel {many(running, 'job')} of “{clean_line(sweep.name)}”?"
        if not await self.app.push_screen_wait(ConfirmScreen(question)):
            return
        try:
            cancelled = await cancel_sweep(self._session, sweep.sweep_id, "")
        except BrightRunError as error:
            self.complain(error)
        else:
            for trouble in cancelled.troubles:
                self.notify(clean_line(trouble), severity="error", timeout=10, markup=False)
        self._is_stale = True
        self.console.look_for_jobs()
