"""All versions of all models: how good each is, how far it is deployed, and keys to move it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Static, Tab, Tabs

from shared.clean_text import clean_line
from shared.errors import BrightRunError
from shared.model_version import DeploymentChange, ModelVersion
from tui.screens.model_comparison import ModelComparisonScreen, ask_for_file
from tui.screens.version_keys import VersionKeys
from tui.services.feed import JobNews
from tui.services.model_comparison import LEAST, MOST, compare_versions
from tui.services.model_export import write_metrics
from tui.services.models import sync_versions
from tui.services.session import Session
from tui.views.comparison import MARKS
from tui.views.model_details import detail_text
from tui.views.model_rows import FILTERS, chosen, count_words, grouped, model_rows
from tui.widgets.model_table import ModelTable
from tui.widgets.safe_input import SafeInput

_INTERVAL_S = 1.0
_AT_LEAST_S = 10
"""In looks: other consoles change versions, and uploads go on."""
_EMPTY = "No versions yet. A job that completes makes one: press Escape, then n for a new job."
_READING = "reading ..."


class ModelsScreen(VersionKeys):
    """Reads the store; only its keys change anything."""

    HELP = """
    # Models

    Each adapter that a job has made is a version of a model, which has the job's name; retries and
    the jobs of a sweep are versions of one model. A version is stored, then testing, then in
    production, and archived when it is not used any more. Every change wants a reason, which is
    kept. Production is closed until there is an evaluation that a version has to pass.

    Space marks two to four versions, c compares them. Enter opens the job that made a version.
    """
    DEFAULT_CSS = """
    ModelsScreen {
        #title { height: 1; background: $panel; padding: 0 1; }
        #filters { height: 2; }
        #search { height: 1; border: none; padding: 0 1; display: none; background: $surface; }
        #search.-open { display: block; }
        #models { height: 1fr; background: $background; }
        #notice { height: auto; padding: 1 2; color: $text-muted; }
        #detail {
            height: 3; padding: 0 1; background: $surface;
            text-wrap: nowrap; text-overflow: ellipsis;
        }
        &.-tall #detail { height: 7; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", tooltip="Two to four of them are compared"),
        Binding("c", "compare", "Compare", tooltip="The marked versions, side by side"),
        Binding(
            "e",
            "export",
            "Export",
            tooltip="Each step of the marked versions, or of this one, as CSV or JSON",
            show=False,
        ),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("v", "next_filter", "Filter", tooltip="Kept, stored, testing ...", show=False),
        Binding("escape", "back", "Back"),
    ]
    AUTO_FOCUS = "#models"

    @dataclass
    class Read(Message):
        """The store was read."""

        versions: list[ModelVersion]
        upload_states: dict[str, frozenset[str]]
        history: list[DeploymentChange]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._known: list[ModelVersion] = []
        self._upload_states: dict[str, frozenset[str]] = {}
        self._history: list[DeploymentChange] = []
        self._shown = FILTERS[0]
        self._search = ""
        self._marked: list[str] = []
        """Ids of versions, in the order in which they were marked."""
        self._has_read = False
        self._looks_left = 0

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield Tabs(*(Tab(name, id=f"tab-{name}") for name in FILTERS), id="filters")
        yield SafeInput(placeholder="model, job, base model, dataset", id="search")
        yield ModelTable(id="models")
        yield Static(_READING, id="notice", markup=False)
        yield Static(id="detail", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one(Tabs).can_focus = False
        self.console.job_news.subscribe(self, self._on_news)
        self.set_interval(_INTERVAL_S, self._look)
        self._look()

    def _on_news(self, news: JobNews) -> None:
        if news.job.status.is_final:
            self.look_again()

    def look_again(self) -> None:
        """At the next turn."""
        self._looks_left = 0

    def _look(self) -> None:
        """Not while another screen is on top."""
        if not self.is_seen:
            return
        self._looks_left -= 1
        if self._looks_left < 0:
            self._looks_left = _AT_LEAST_S
            self._read()

    @work(group="read", exclusive=True)
    async def _read(self) -> None:
        models = self._session.store.models
        try:
            await sync_versions(self._session)
            read = self.Read(
                await models.all(), await models.upload_states(), await models.history()
            )
        except BrightRunError as error:
            self.complain(error)
        else:
            self.post_message(read)

    @on(Read)
    def _on_read(self, message: Read) -> None:
        self._known = grouped(message.versions)
        self._upload_states, self._history = message.upload_states, message.history
        self._has_read = True
        kept = {each.version_id for each in self._known}
        self._marked = [each for each in self._marked if each in kept]
        self._draw()

    # --- drawing ------------------------------------------------------------------------------

    def _draw(self) -> None:
        shown = chosen(self._known, self._shown, self._search)
        marks = dict(zip(self._marked, MARKS, strict=False))
        self.query_one(ModelTable).show(model_rows(shown, self._upload_states, marks))
        notice = self.query_one("#notice", Static)
        notice.display = not shown
        if self._has_read:
            notice.update(self._nothing_words())
        self._draw_title(shown)
        self._draw_detail()

    def _nothing_words(self) -> str:
        return "No version is like that." if self._known else _EMPTY

    def _draw_title(self, shown: Sequence[ModelVersion]) -> None:
        words = [count_words(shown)] if self._has_read else [_READING]
        if self._search:
            words.insert(0, f"search “{clean_line(self._search)}”")
        if self._marked:
            words.append(f"{len(self._marked)} marked")
        if left_out := self.query_one(ModelTable).left_out:
            words.append(f"{left_out:,} more are left out: search")
        title = Text.assemble(("Models", "bold"), "  ", ("  ·  ".join(words), "dim"))
        self.query_one("#title", Static).update(title, layout=False)

    @on(ModelTable.Highlighted)
    def _draw_detail(self) -> None:
        version = self.chosen_version()
        text = Text()
        if version is not None:
            own = [each for each in self._history if each.version_id == version.version_id]
            text = detail_text(version, own)
        self.query_one("#detail", Static).update(text, layout=False)
        self.refresh_bindings()

    def chosen_version(self) -> ModelVersion | None:
        row = self.query_one(ModelTable).row_under_cursor
        return None if row is None else self._version(row.version_id)

    def _version(self, version_id: str) -> ModelVersion | None:
        return next((each for each in self._known if each.version_id == version_id), None)

    # --- keys ---------------------------------------------------------------------------------

    @on(Tabs.TabActivated)
    def _on_tab(self, event: Tabs.TabActivated) -> None:
        self._shown = (event.tab.id or "").removeprefix("tab-")
        self._draw()

    @on(Input.Changed, "#search")
    def _on_search(self, event: Input.Changed) -> None:
        self._search = event.value
        self._draw()

    @on(Input.Submitted, "#search")
    def _on_searched(self) -> None:
        self.query_one(ModelTable).focus()

    @on(DataTable.RowSelected)
    def _on_row_selected(self, event: DataTable.RowSelected) -> None:
        """Look at the job that made it."""
        event.stop()
        version = self.chosen_version()
        news = None if version is None else self.console.news.get(version.job_id)
        if news is not None:
            self.console.open_job(news.job)

    def action_search(self) -> None:
        """Type words; the table follows."""
        search = self.query_one("#search", Input)
        search.add_class("-open")
        search.focus()

    def action_back(self) -> None:
        """End the search, or leave."""
        search = self.query_one("#search", Input)
        if search.has_class("-open"):
            search.value = ""
            search.remove_class("-open")
            self.query_one(ModelTable).focus()
        else:
            self.dismiss()

    def action_next_filter(self) -> None:
        """The next of the tabs."""
        following = FILTERS[(FILTERS.index(self._shown) + 1) % len(FILTERS)]
        self.query_one(Tabs).active = f"tab-{following}"

    def action_mark(self) -> None:
        """Compare the version under the cursor, or not any more."""
        version = self.chosen_version()
        if version is None:
            return
        if version.version_id in self._marked:
            self._marked.remove(version.version_id)
        elif len(self._marked) < MOST:
            self._marked.append(version.version_id)
        else:
            self.notify(f"At most {MOST} versions are compared: take a mark away first.")
        self._draw()

    def action_compare(self) -> None:
        """The marked versions, side by side."""
        marked = [self._version(each) for each in self._marked]
        versions = [each for each in marked if each is not None]
        if len(versions) < LEAST:
            self.notify(f"Mark {LEAST} to {MOST} versions with Space first.")
        else:
            self.app.push_screen(ModelComparisonScreen(self._session, versions))

    @work(group="ask", exclusive=True)
    async def action_export(self) -> None:
        """Write each step of the marked versions, or of the one under the cursor, to a file."""
        found = [self._version(each) for each in self._marked] or [self.chosen_version()]
        versions = [each for each in found if each is not None]
        if not versions:
            return
        path = await ask_for_file(self, versions)
        if path is None:
            return
        try:
            compared = await compare_versions(self._session, versions, least=1)
            rows = await asyncio.to_thread(write_metrics, path, compared)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.notify(f"{rows:,} rows written: {clean_line(str(path))}", markup=False)
