"""What rented machines and volumes have cost, by day, job, GPU or tag, and how the month stands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import DataTable, Footer, Static, Tab, Tabs

from shared.clean_text import clean_line
from shared.dataset.writing.new_file import refuse_existing
from shared.errors import BrightRunError
from shared.events import utc_now
from shared.number_text import short_path
from tui.screens.console_screen import ConsoleScreen
from tui.screens.typed_line import TypedLineScreen
from tui.services.cost_export import write_csv
from tui.services.cost_report import CostReport, read_cost_report
from tui.services.limit_setting import checked_limit, set_monthly_limit
from tui.services.session import Session
from tui.terminal_encoding import terminal_is_unicode
from tui.views.cost_picture import bars_by_day, bars_of_month
from tui.views.costs import GROUPINGS, PERIODS, Grouping, added_up, grouped, total_words
from tui.widgets.cost_chart import CostChart
from tui.widgets.cost_month import CostMonth
from tui.widgets.cost_table import CostTable

_INTERVAL_S = 0.5
_WHILE_PAID_S = 10.0
"""Something runs: it costs more without any news of it. A look takes 0.3 s and holds the loop up
for 0.1 s where there are 1,000 jobs and 2,000 machines (measured 2026-11)."""
_AT_LEAST_S = 60.0
"""Other consoles change the limit, and midnight comes."""


class CostsScreen(ConsoleScreen[None]):
    """Reads the store; rents and ends nothing."""

    HELP = """
    # Costs

    What rented machines and network volumes have cost, by our own ledger: from when a machine was
    asked for until it was seen to be gone. Days and months are UTC's. What the provider has billed
    stands beside it where that is known. A job with several tags counts in each of them. Enter
    opens the job of a row.

    The upper line says how the month stands against its limit. Beyond it nothing new is rented
    without a reason that is written down; machines that run already go on.
    """
    CSS = """
    CostsScreen {
        #title { height: 1; background: $panel; padding: 0 1; }
        #choices { height: 2; }
        #periods { width: 30; }
        #groupings { width: 1fr; }
        #month { height: 4; padding: 0 1; }
        #chart { height: 8; padding: 0 1; }
        &.-tall #chart { height: 14; margin: 1 0; }
        #costs { height: 1fr; background: $background; }
        #notice { height: auto; padding: 1 2; color: $text-muted; display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("7", "period(7)", "7 days", show=False),
        Binding("3", "period(30)", "30 days", show=False),
        Binding("9", "period(90)", "90 days", show=False),
        Binding("p", "next_period", "Period", tooltip="7, 30 or 90 days; also keys 7, 3, 9"),
        Binding("d", "group('day')", "By day", show=False),
        Binding("j", "group('job')", "By job", show=False),
        Binding("g", "group('gpu')", "By GPU", show=False),
        Binding("t", "group('tag')", "By tag", show=False),
        Binding("b", "next_grouping", "Group by", tooltip="Day, job, GPU, tag; also d, j, g, t"),
        Binding("m", "picture", "Month", tooltip="The month added up, or each day"),
        Binding("e", "export", "Export", tooltip="These days as a CSV file"),
        Binding("l", "limit", "Limit", tooltip="Set the monthly limit"),
        Binding("escape", "back", "Back"),
    ]
    AUTO_FOCUS = "#costs"

    @dataclass
    class Read(Message):
        """The store was read."""

        report: CostReport

    @dataclass
    class Failed(Message):
        """It was not."""

        error: BrightRunError

    def __init__(self, session: Session, *, days: int = 30) -> None:
        super().__init__()
        self._session = session
        self._days = days
        self._by: Grouping = "day"
        self._shows_month = False
        self._report: CostReport | None = None
        self._read_at = -_AT_LEAST_S
        self._is_stale = True

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        with Horizontal(id="choices"):
            periods = (Tab(f"{days} days", id=f"days-{days}") for days in PERIODS)
            yield Tabs(*periods, active=f"days-{self._days}", id="periods")
            groupings = (Tab(_TAB_LABELS[by], id=f"by-{by}") for by in GROUPINGS)
            yield Tabs(*groupings, active=f"by-{self._by}", id="groupings")
        yield CostMonth(id="month")
        yield CostChart(id="chart", ascii_only=not terminal_is_unicode())
        yield CostTable(id="costs")
        yield Static("No rented machine or volume has cost anything in these days.", id="notice")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        for tabs in self.query(Tabs):
            tabs.can_focus = False
        self.console.job_news.subscribe(self, self._on_news)
        self.console.rentals.news.subscribe(self, self._on_news)
        self.set_interval(_INTERVAL_S, self._look)
        self._draw_title()
        self._look()

    def _on_news(self, news: object) -> None:
        self._is_stale = True

    def _look(self) -> None:
        """Read again where something may have changed; not while another screen is on top."""
        age_s = monotonic() - self._read_at
        is_paid = any(sight.usd_per_hour > 0 for sight in self.console.rentals.sights.values())
        is_due = self._is_stale or (is_paid and age_s > _WHILE_PAID_S) or age_s > _AT_LEAST_S
        if is_due and self.is_seen:
            self._is_stale = False
            self._read_at = monotonic()
            self._read()

    @work(group="read", exclusive=True)
    async def _read(self) -> None:
        try:
            report = await read_cost_report(self._session.store, self._days, utc_now())
        except BrightRunError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Read(report))

    @on(Read)
    def _on_read(self, message: Read) -> None:
        if message.report.days == self._days:
            self._report = message.report
            self._draw()

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        self.complain(message.error)

    # --- drawing ------------------------------------------------------------------------------

    def _draw(self) -> None:
        if (report := self._report) is None:
            return
        self.query_one(CostMonth).show(report)
        self._draw_picture()
        total_usd = added_up(report.lines).usd
        table = self.query_one(CostTable)
        table.show(grouped(report.lines, self._by), self._by, total_usd)
        self.query_one("#notice").display = not report.lines
        self._draw_title()

    def _draw_picture(self) -> None:
        if (report := self._report) is None:
            return
        chart = self.query_one(CostChart)
        if self._shows_month:
            month = bars_of_month(report.month)
            chart.show(lambda _: month)
        else:
            first, days = report.first_day, report.days
            chart.show(partial(bars_by_day, report.lines, first, days, report.month))

    def _draw_title(self) -> None:
        words = ["reading ..."]
        if self._report is not None:
            words = total_words(added_up(self._report.lines))
            if left_out := self.query_one(CostTable).left_out:
                words.append(f"{left_out:,} cheaper rows are left out here")
        title = Text.assemble(("Costs", "bold"), "  ", (" · ".join(words), "dim"))
        self.query_one("#title", Static).update(title, layout=False)

    # --- keys ---------------------------------------------------------------------------------

    @on(Tabs.TabActivated, "#periods")
    def _on_period(self, event: Tabs.TabActivated) -> None:
        days = int((event.tab.id or "").removeprefix("days-"))
        if days != self._days:
            self._days = days
            self._is_stale = True
            self._look()

    @on(Tabs.TabActivated, "#groupings")
    def _on_grouping(self, event: Tabs.TabActivated) -> None:
        by = next(by for by in GROUPINGS if event.tab.id == f"by-{by}")
        if by != self._by:
            self._by = by
            self._draw()

    def action_period(self, days: int) -> None:
        """So many last days."""
        self.query_one("#periods", Tabs).active = f"days-{days}"

    def action_next_period(self) -> None:
        """The next of 7, 30 and 90 days."""
        self.action_period(PERIODS[(PERIODS.index(self._days) + 1) % len(PERIODS)])

    def action_group(self, by: str) -> None:
        """One row for each of these."""
        self.query_one("#groupings", Tabs).active = f"by-{by}"

    def action_next_grouping(self) -> None:
        """The next of day, job, GPU and tag."""
        self.action_group(GROUPINGS[(GROUPINGS.index(self._by) + 1) % len(GROUPINGS)])

    def action_picture(self) -> None:
        """Each day, or the month added up against its limit."""
        self._shows_month = not self._shows_month
        self._draw_picture()

    def action_back(self) -> None:
        self.dismiss()

    @on(DataTable.RowSelected)
    def _on_row_selected(self, event: DataTable.RowSelected) -> None:
        """Look at the job, where the row is one."""
        event.stop()
        key = self.query_one(CostTable).key_under_cursor
        news = self.console.news.get(key or "") if self._by == "job" else None
        if news is not None:
            self.console.open_job(news.job)

    @work(group="ask", exclusive=True)
    async def action_export(self) -> None:
        """Write these days into a new CSV file."""
        if (report := self._report) is None:
            return
        name = f"brightrun-costs-{report.now:%Y-%m-%d}-{report.days}-days.csv"
        asked = TypedLineScreen(
            f"Export the last {report.days} days as CSV",
            "One row for each day and job. A file that is there already is not overwritten.",
            value=name,
            button="Export",
            check=lambda typed: refuse_existing(Path(typed).expanduser()),
        )
        typed = await self.app.push_screen_wait(asked)
        if typed is None:
            return
        path = Path(typed).expanduser()
        try:
            await asyncio.to_thread(write_csv, path, report.lines)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.notify(f"written: {clean_line(short_path(path.absolute()))}", markup=False)

    @work(group="ask", exclusive=True)
    async def action_limit(self) -> None:
        """Set what a month may cost."""
        if (report := self._report) is None:
            return
        asked = TypedLineScreen(
            "What may a month cost, in dollars?",
            "Beyond it nothing new is rented without a reason. Machines that run go on.",
            value=f"{report.month.limit_usd:g}",
            button="Set the limit",
            check=checked_limit,
        )
        typed = await self.app.push_screen_wait(asked)
        if typed is None:
            return
        try:
            await set_monthly_limit(self._session.store, checked_limit(typed))
        except BrightRunError as error:
            self.complain(error)
        self._is_stale = True
        self._look()


_TAB_LABELS: dict[Grouping, str] = {
    "day": "by day",
    "job": "by job",
    "gpu": "by GPU",
    "tag": "by tag",
}
