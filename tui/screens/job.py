"""One job: its curves, figures, events, log, files and settings, live."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Footer, Static, TabbedContent, TabPane

from shared.advice.suggestion import Suggestion
from shared.clean_text import clean_line
from shared.errors import InvalidInput, StoreError
from shared.events import GpuSample, JournalRecord
from shared.rental import LedgerEntry, RentalPhase
from shared.store.forecasts import StoredForecast
from shared.store.stored import MetricsPoint, StoredJob
from tui.screens.console_screen import JobScreenBase
from tui.services.feed import JobNews
from tui.services.rental_watch import RentalSight
from tui.services.session import Session
from tui.services.settled_forecasts import settle_forecast
from tui.services.suggestions import suggestions_for
from tui.terminal_encoding import terminal_is_unicode
from tui.views.forecast_lines import compared_pairs
from tui.views.job_figures import Pairs, figures, settings
from tui.views.job_history import JobHistory
from tui.views.job_lines import JobLines, event_style, latest_lines, pairs_text
from tui.widgets.adapter_files import AdapterFiles
from tui.widgets.figures_panel import FiguresPanel
from tui.widgets.gpu_gauges import GpuGauges
from tui.widgets.job_header import JobHeader
from tui.widgets.log_pane import LogPane
from tui.widgets.loss_chart import LossChart
from tui.widgets.rental_panel import RentalPanel
from tui.widgets.trainer_log_view import TrainerLogView

_INTERVAL_S = 0.5
_LATEST_EVENTS = 8
_SAMPLES = 240
"""Of the GPUs: an hour of them, where each is written."""
_TABS = ("loss", "events", "log", "files", "settings", "machines")


class JobScreen(JobScreenBase):
    """Everything about one job. Leaving it, or the console, does nothing to the job."""

    HELP = """
    # Job

    The figures come from the job's own journal: the same whether you watched or came back later.
    When its machine does not answer, the last known figures stay and are marked as such.
    """
    CSS = """
    JobScreen {
        TabbedContent { height: 1fr; }
        TabPane { padding: 0; }
        ContentSwitcher { height: 1fr; }
        #overview { height: 1fr; }
        LossChart { width: 1fr; height: 1fr; min-height: 6; }
        #side { height: auto; }
        #latest { height: auto; padding: 0 1; color: $text-muted; display: none; }
        #settings-pairs { width: 1fr; height: auto; padding: 1 2; }
    }
    JobScreen.-wide {
        #overview { layout: horizontal; }
        #side { width: 34; height: 1fr; border-left: vkey $panel; }
    }
    JobScreen.-wide #gpus { margin: 1 0 0 0; }
    JobScreen.-narrow #overview { layout: vertical; }
    JobScreen.-tall #latest { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Jobs"),
        *(
            Binding(str(number), f"show_tab('{name}')", name.capitalize(), show=False)
            for number, name in enumerate(_TABS, start=1)
        ),
        Binding("m", "next_quantity", "Curve", tooltip="Loss, grad norm, learning rate"),
        Binding("l", "toggle_log_scale", "Log scale", show=False),
        Binding("s", "next_smoothing", "Smoothing", show=False),
        Binding("b", "next_marker", "Dots", show=False, tooltip="Braille, blocks or ASCII"),
        Binding("z", "next_window", "Zoom", show=False, tooltip="All steps, or the last ones"),
    ]

    @dataclass
    class Loaded(Message):
        """What the store has of the job."""

        job: StoredJob
        points: list[MetricsPoint]
        events: list[JournalRecord]
        ledger: list[LedgerEntry]
        samples: list[JournalRecord]

    @dataclass
    class Suggested(Message):
        """What may do better than this job, now that it has ended."""

        suggestions: list[Suggestion]

    @dataclass
    class Foreseen(Message):
        """What was foreseen of the job, and what it took once it has ended."""

        stored: StoredForecast | None

    def __init__(self, job: StoredJob) -> None:
        super().__init__()
        self._news = JobNews(job)
        self._forecast: StoredForecast | None = None
        self._suggestions: list[Suggestion] = []
        self.history: JobHistory | None = None
        """None until the store has been read."""
        self._lines = JobLines()
        self._lines_shown = -1
        self._settings_shown: Pairs = []
        self._early: list[JobNews] = []
        """News that came before the store was read."""
        self._early_ledger: list[LedgerEntry] = []

    def compose(self) -> ComposeResult:
        session, job_id = self.console.session, self._news.job.job_id
        yield JobHeader(id="header")
        with TabbedContent(initial="loss", id="tabs"):
            with TabPane("1 Loss", id="loss"), Vertical(id="overview"):
                yield LossChart(id="chart")
                with Vertical(id="side"):
                    yield FiguresPanel(id="figures")
                    yield GpuGauges(id="gpus")
                    yield Static(id="latest", markup=False)
            with TabPane("2 Events", id="events"):
                name = f"{job_id}-events.txt"
                yield LogPane(save_as=name, line_style=event_style, id="event-log")
            with TabPane("3 Log", id="log"):
                if session is not None:
                    yield self._trainer_log(session)
            with TabPane("4 Files", id="files"):
                if session is not None:
                    yield AdapterFiles(session, id="adapter-files")
            with TabPane("5 Settings", id="settings"), VerticalScroll():
                yield Static(id="settings-pairs", markup=False)
            if self._news.job.state.rented:
                with TabPane("6 Machines", id="machines"):
                    yield RentalPanel(id="rental")
        yield Footer(compact=True)

    def _trainer_log(self, session: Session) -> Widget:
        job = self._news.job
        try:
            return TrainerLogView(session.host_of(job), job.job_id, id="trainer-log")
        except InvalidInput as error:
            return Static(clean_line(str(error)), id="trainer-log", markup=False)

    def on_mount(self) -> None:
        self.console.job_news.subscribe(self, self._on_news)
        self.console.rentals.news.subscribe(self, self._on_rental_news)
        self.set_interval(_INTERVAL_S, self._draw)
        if not terminal_is_unicode():
            self.query_one(LossChart).marker = "ascii"
        self._load()
        self.call_after_refresh(self._draw)

    def chosen_job(self) -> StoredJob | None:
        """The job of this screen."""
        return self._news.job

    @work(exclusive=True)
    async def _load(self) -> None:
        session = self.console.session
        if session is None:
            return
        try:
            # The job first: whatever comes after its cursor comes again as news.
            job = await session.store.get_job(self._news.job.job_id)
            points = await session.store.metrics(job.job_id)
            events = await session.store.events(job.job_id, without_metrics=True)
            ledger = await session.store.rentals.ledger(job.job_id) if job.state.rented else []
            samples = await session.store.records_of(job.job_id, GpuSample, last=_SAMPLES)
        except StoreError as error:
            self.complain(error)
        else:
            self.post_message(self.Loaded(job, points, events, ledger, samples))

    @work(exclusive=True, group="suggestions")
    async def _look_for_suggestions(self) -> None:
        session, job = self.console.session, self._news.job
        if session is None or not job.status.is_final:
            return
        with suppress(StoreError):  # Only a hint; whatever needs the store next says what is wrong.
            self.post_message(self.Suggested(await suggestions_for(session.store, job)))

    def on_job_screen_suggested(self, event: Suggested) -> None:
        self._suggestions = event.suggestions
        self._draw()

    @work(exclusive=True, group="forecast")
    async def _look_for_forecast(self) -> None:
        if (session := self.console.session) is None:
            return
        with suppress(StoreError):  # As above.
            job_id = self._news.job.job_id
            self.post_message(self.Foreseen(await settle_forecast(session.store, job_id)))

    def on_job_screen_foreseen(self, event: Foreseen) -> None:
        self._forecast = event.stored
        self._draw()

    def on_job_screen_loaded(self, event: Loaded) -> None:
        history = JobHistory()
        history.load(event.points, event.events, event.job.cursor, event.samples)
        self.history = history
        self._news = self.console.news.get(event.job.job_id, JobNews(event.job))
        self._add_lines(history.events, event.ledger)
        self._add_lines((), self._early_ledger)
        self.query_one(LossChart).show(history.curves)
        early, self._early = self._early, []
        for news in early:
            self._on_news(news)
        self._look_for_suggestions()
        self._look_for_forecast()
        self._draw()

    def _on_news(self, news: JobNews) -> None:
        if news.job.job_id != self._news.job.job_id:
            return
        if self.history is None:
            self._early.append(news)
            return
        earlier, self._news = self._news, news
        self._add_lines(self.history.extend(news.records))
        if news.job.status != earlier.job.status or news.job.state.adapter_verified:
            self.refresh_bindings()
        if news.job.status.is_final and not earlier.job.status.is_final:
            self._look_for_suggestions()
            self._look_for_forecast()

    def _on_rental_news(self, sight: RentalSight) -> None:
        if sight.job_id != self._news.job.job_id:
            return
        self.refresh_bindings()
        if sight.rental.phase is RentalPhase.DONE:
            self._look_for_forecast()
        if self.history is None:
            self._early_ledger += sight.fresh
        else:
            self._add_lines((), sight.fresh)

    def _add_lines(
        self, records: Sequence[JournalRecord], ledger: Sequence[LedgerEntry] = ()
    ) -> None:
        """What is new among the events and in the ledger, merged by time."""
        self.query_one("#event-log", LogPane).add_lines(self._lines.add(records, ledger))

    def _draw(self) -> None:
        """Twice a second, and not while another screen is on top."""
        if not self.is_current or self.history is None:
            return
        now, job, history = datetime.now(UTC), self._news.job, self.history
        header = self.query_one(JobHeader)
        times = history.stage_times(now)
        rented = self.console.rentals.sights.get(job.job_id)
        header.show(job, times, self._news.unreachable, now, self._suggestions, rented)
        tab = self.query_one(TabbedContent).active
        if tab == "loss":
            pairs = figures(job, history.memory_bytes, rented, now)
            self.query_one(FiguresPanel).show(pairs)
            usd_per_hour = 0.0 if rented is None else rented.usd_per_hour
            self.query_one(GpuGauges).show(job.state, history.gpu_loads, now, usd_per_hour)
            self._draw_latest()
        elif tab == "files":
            for files in self.query(AdapterFiles):
                files.show(job)
        elif tab == "settings":
            pairs = [*compared_pairs(self._forecast), *settings(job, history)]
            if pairs != self._settings_shown:
                self.query_one("#settings-pairs", Static).update(pairs_text(pairs))
                self._settings_shown = pairs
        elif tab == "machines" and rented is not None:
            self.query_one(RentalPanel).show(rented, job.state, now)

    def _draw_latest(self) -> None:
        lines = self._lines.shown
        if len(lines) != self._lines_shown:
            self.query_one("#latest", Static).update(latest_lines(lines, _LATEST_EVENTS))
            self._lines_shown = len(lines)

    def on_tabbed_content_tab_activated(self) -> None:
        self._draw()

    def action_back(self) -> None:
        """The table of all jobs; this job goes on."""
        self.dismiss()

    def action_show_tab(self, tab: str) -> None:
        """One of the tabs, with its own keys at hand."""
        if not self.query(f"TabPane#{tab}"):
            return  # Only rented jobs have the sixth.
        self.query_one(TabbedContent).active = tab
        self.call_after_refresh(self._focus_on, tab)

    def _focus_on(self, tab: str) -> None:
        for widget in self.query(f"#{tab} LogPane, #{tab} DataTable, #{tab} VerticalScroll"):
            widget.focus()

    def action_next_quantity(self) -> None:
        """Loss, then the gradient's norm, then the learning rate."""
        self.action_show_tab("loss")
        self.query_one(LossChart).show_next_quantity()

    def action_toggle_log_scale(self) -> None:
        """Logarithmic or linear."""
        chart = self.query_one(LossChart)
        chart.log_scale = not chart.log_scale

    def action_next_smoothing(self) -> None:
        """None, some, much."""
        self.query_one(LossChart).take_next_smoothing()

    def action_next_marker(self) -> None:
        """Other characters for the curves, where a font has no braille."""
        self.query_one(LossChart).take_next_marker()

    def action_next_window(self) -> None:
        """All steps, or only the last of them."""
        self.query_one(LossChart).take_next_window()
