"""All jobs: the first thing that is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Input, Static, Tab, Tabs

from shared.clean_text import clean_line
from tui.screens.queue_keys import QueueKeys
from tui.views.job_row import FILTERS, SORTS, Selection, count_by_filter, row_of
from tui.views.queue_line import line_of, queued_words, waits
from tui.widgets.job_table import JobTable
from tui.widgets.safe_input import SafeInput

if TYPE_CHECKING:
    from shared.store.stored import StoredJob
    from tui.services.feed import JobNews
    from tui.services.rental_watch import RentalSight

_OPENING = "opening ..."
_EMPTY = "No jobs yet. Press n for the first one."


class JobsScreen(QueueKeys):
    """A table of all jobs, with filter, search and sort."""

    HELP = """
    # Jobs

    Every job on this machine's store, also those that other consoles started. Closing the console
    stops none of them. Enter opens a job; a click on a column's head sorts by it. A queued job
    starts when its turn comes; [, ] and P move it in the line. m shows what completed jobs have
    made, as versions of models.
    """
    DEFAULT_CSS = """
    JobsScreen {
        #title { height: 1; background: $panel; padding: 0 1; }
        #filters { height: 2; }
        #search { height: 1; border: none; padding: 0 1; display: none; background: $surface; }
        #search.-open { display: block; }
        #notice { height: auto; padding: 1 2; color: $text-muted; }
        #jobs { height: 1fr; background: $background; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open"),
        Binding("n", "new_job", "New job"),
        Binding("slash", "search", "Search", key_display="/"),
        # Named in the help alone: a footer of 80 columns has no room for it.
        Binding(
            "v", "next_filter", "Filter", tooltip="Show all, active, completed ...", show=False
        ),
        Binding("s", "next_sort", "Sort", show=False),
        Binding("d", "datasets", "Datasets", tooltip="The training files that were checked here"),
        Binding("h", "machines", "Hosts", tooltip="The machines that jobs run on"),
        Binding(
            "m",
            "models",
            "Models",
            tooltip="What jobs have made: versions, comparison",
            show=False,
        ),
        Binding(
            "dollar_sign",
            "costs",
            "Costs",
            key_display="$",
            tooltip="What was spent, and how the month stands",
        ),
        Binding("escape", "end_search", "End search", show=False),
    ]
    AUTO_FOCUS = "#jobs"

    def __init__(self) -> None:
        super().__init__()
        self._is_open = False
        self._line: tuple[str, ...] = ()
        """Ids of the jobs that wait for their turn, the next one first."""

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield Tabs(*(Tab(name, id=name) for name in FILTERS), id="filters")
        yield SafeInput(placeholder="name, notes, tags, id, model or file", id="search")
        yield JobTable(id="jobs")
        yield Static(_OPENING, id="notice", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one(Tabs).can_focus = False
        self.console.job_news.subscribe(self, self._on_news)
        self.console.rentals.news.subscribe(self, self._on_rental_news)
        self.set_interval(0.5, self._count)
        self._count()

    def on_screen_resume(self) -> None:
        self.query_one(JobTable).draw_changes()
        self.refresh_bindings()

    def opened(self) -> None:
        """The store has been read once: an empty table is really empty."""
        self._is_open = True
        self.query_one(JobTable).draw_changes()
        self._count()

    def show_trouble(self, text: str) -> None:
        """A sentence in place of the jobs; empty where all is well again."""
        self.set_class(bool(text), "-trouble")
        self._is_open = self._is_open or bool(text)
        self.query_one("#notice", Static).update(Text(text, style="bold red"))
        self.query_one("#notice").display = bool(text)

    def chosen_job(self) -> StoredJob | None:
        """The job under the cursor."""
        job_id = self.query_one(JobTable).job_id
        news = None if job_id is None else self.console.news.get(job_id)
        return None if news is None else news.job

    def _on_news(self, news: JobNews) -> None:
        if waits(news.job) or news.job.job_id in self._line:
            self._draw_line(news.job.job_id)
        self._put(news)

    def _draw_line(self, but: str) -> None:
        """One job has moved, joined or left the line: the places of others are other ones now."""
        known = self.console.news
        line = line_of(news.job for news in known.values())
        if line == self._line:
            return
        changed, self._line = {*self._line, *line} - {but}, line
        for job_id in changed:
            if job_id in known:
                self._put(known[job_id])
        self.refresh_bindings()

    def _put(self, news: JobNews) -> None:
        rented = self.console.rentals.sights.get(news.job.job_id)
        row = row_of(
            news.job,
            is_unreachable=news.unreachable is not None,
            rented=rented,
            queued=queued_words(self._line, news.job.job_id),
        )
        table = self.query_one(JobTable)
        earlier = table.jobs.get(row.job_id)
        table.put(row)
        if earlier is not None and earlier.status != row.status:
            self.refresh_bindings()

    def _on_rental_news(self, sight: RentalSight) -> None:
        if (news := self.console.news.get(sight.job_id)) is not None:
            self._on_news(news)
            self.refresh_bindings()

    def _count(self) -> None:
        """The numbers in the title and on the tabs."""
        if not self.is_current:
            return
        table = self.query_one(JobTable)
        counts = count_by_filter(table.jobs.values())
        for name, count in counts.items():
            tab = self.query_one(f"#filters #{name}", Tab)
            label = f"{name} {count}" if table.jobs else name
            if str(tab.label) != label:
                tab.label = label
        words = [f"{counts['active']} active", f"{counts['all']} jobs"] if table.jobs else []
        if search := table.selection.search:
            words.insert(0, f"search “{clean_line(search)}”: {table.row_count}")
        if table.left_out:
            words.append(f"the first {table.row_count} are shown")
        if control := self.console.rentals.control():
            words.append(control)
        if mirrored := self.console.mirror_line.words:
            words.append(f"Supabase: {mirrored}")
        title = Text.assemble(("brightrun", "bold"), "  ", ("  ·  ".join(words), "dim"))
        self.query_one("#title", Static).update(title, layout=False)
        if not self.has_class("-trouble"):
            notice = self.query_one("#notice", Static)
            notice.display = not table.jobs
            notice.update(_EMPTY if self._is_open else _OPENING)

    @property
    def _selection(self) -> Selection:
        return self.query_one(JobTable).selection

    def _select(self, selection: Selection) -> None:
        self.query_one(JobTable).select(selection)
        self._count()

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        self._select(replace(self._selection, shown=event.tab.id or "all"))

    def on_job_table_sort_requested(self, event: JobTable.SortRequested) -> None:
        self._select(self._selection.sorted_by(event.sort))

    def on_job_table_highlighted(self, event: JobTable.Highlighted) -> None:
        self.refresh_bindings()

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._select(replace(self._selection, search=event.value))

    def on_input_submitted(self) -> None:
        self.query_one(JobTable).focus()

    def action_open(self) -> None:
        """Look at the job under the cursor."""
        job = self.chosen_job()
        if job is not None:
            self.console.open_job(job)

    def action_new_job(self) -> None:
        """The form for a new job."""
        self.console.open_new_job()

    def action_datasets(self) -> None:
        """The training files that were checked here."""
        self.console.open_datasets()

    def action_machines(self) -> None:
        """The machines that jobs run on."""
        self.console.open_machines()

    def action_models(self) -> None:
        """What jobs have made, as versions of models."""
        self.console.open_models()

    def action_costs(self) -> None:
        """What was spent, and how the month stands."""
        self.console.open_costs()

    def action_search(self) -> None:
        """Type words; the table follows."""
        search = self.query_one("#search", Input)
        search.add_class("-open")
        search.focus()

    def action_end_search(self) -> None:
        """All jobs again."""
        search = self.query_one("#search", Input)
        search.value = ""
        search.remove_class("-open")
        self.query_one(JobTable).focus()

    def action_next_filter(self) -> None:
        """The next of the tabs."""
        names = list(FILTERS)
        following = names[(names.index(self._selection.shown) + 1) % len(names)]
        self.query_one(Tabs).active = following

    def action_next_sort(self) -> None:
        """Sort by the next column."""
        following = SORTS[(SORTS.index(self._selection.sort) + 1) % len(SORTS)]
        self._select(self._selection.sorted_by(following))
