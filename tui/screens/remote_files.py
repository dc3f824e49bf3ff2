"""The web application's training files: searched, looked at, and fetched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Static

from shared.clean_text import clean_line
from shared.errors import BrightRunError
from shared.number_text import many
from shared.store.web_training_files import WebFile
from tui.screens.console_screen import ConsoleScreen
from tui.services.session import Session
from tui.services.web_file_rows import RemoteFile
from tui.services.web_files import FetchedFile, RemoteFiles, fetch, list_training_files
from tui.views.remote_file_row import remote_file_details, remote_file_row
from tui.widgets.check_progress import CheckProgress
from tui.widgets.remote_file_table import RemoteFileTable
from tui.widgets.safe_input import SafeInput

_ASKING = "asking the web application ..."
_EMPTY = "No training file there that you may see."
_NOTHING_FITS = "Nothing fits the search; an empty one shows all."


class RemoteFilesScreen(ConsoleScreen[str | None]):
    """Gives the path of a file that was fetched, else None."""

    HELP = """
    # The web application's training files

    Those that your login may see, newest first. / searches names and descriptions. Enter brings
    the file under the cursor here, compares its size and hash with its row, and opens it. What is
    here already and unchanged is not fetched again; “changed” means that the web application has
    another content now. Esc stops a download; fetching again goes on where it stopped.
    """
    CSS = """
    RemoteFilesScreen {
        #title { height: 1; background: $panel; padding: 0 1; }
        #search { height: 1; border: none; padding: 0 1; display: none; background: $surface; }
        #search.-open { display: block; }
        #remote-files { height: 1fr; background: $background; }
        #notice { height: auto; padding: 1 2; color: $text-muted; }
        #details { height: auto; max-height: 30%; padding: 0 1; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("n", "turn(1)", "Next page"),
        Binding("p", "turn(-1)", "Previous page"),
        Binding("f5", "reload", "Ask again"),
        Binding("escape", "back", "Back"),
    ]
    AUTO_FOCUS = "#remote-files"

    @dataclass
    class Listed(Message):
        """One page."""

        found: RemoteFiles
        here: dict[str, WebFile] = field(default_factory=dict)

    @dataclass
    class Progressed(Message):
        """So many bytes are here."""

        done: int
        total: int

    @dataclass
    class Fetched(Message):
        """It is here, and verified."""

        fetched: FetchedFile

    @dataclass
    class Failed(Message):
        """The list or the file did not come."""

        error: BrightRunError
        was_fetch: bool = False

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._search = ""
        self._found: RemoteFiles | None = None
        self._fetching: RemoteFile | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield SafeInput(placeholder="part of a name or description, or Esc", id="search")
        yield RemoteFileTable(id="remote-files")
        yield Static(_ASKING, id="notice", markup=False)
        yield Static(id="details", markup=False)
        yield CheckProgress()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self._draw_title()
        self._list(1)

    @property
    def chosen(self) -> RemoteFile | None:
        key = self.query_exactly_one(RemoteFileTable).under_cursor
        files = self._found.files if self._found is not None else ()
        return next((file for file in files if clean_line(file.id) == key), None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible stands in the footer."""
        if action == "turn":
            return self._found is not None and self._page_beside(parameters[0]) is not None
        return True

    # --- the list -----------------------------------------------------------------------------

    @work(group="list", exclusive=True)
    async def _list(self, page: int) -> None:
        try:
            found = await list_training_files(self._session, self._search, page)
            here = await self._session.store.web_files.all()
        except BrightRunError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Listed(found, here))

    @on(Listed)
    def _on_listed(self, message: Listed) -> None:
        self._found = message.found
        rows = [remote_file_row(file, message.here.get(file.id)) for file in message.found.files]
        self.query_exactly_one(RemoteFileTable).show(rows)
        self._say("" if rows else _NOTHING_FITS if self._search else _EMPTY)
        self._draw_title()
        self._draw_details()
        self.refresh_bindings()

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        if message.was_fetch:
            self._end_fetch()
            self.complain(message.error)
        else:
            self._say(str(message.error))

    @on(RemoteFileTable.Highlighted)
    def _on_highlighted(self) -> None:
        self._draw_details()

    def _say(self, words: str) -> None:
        notice = self.query_exactly_one("#notice", Static)
        notice.update(clean_line(words))
        notice.display = bool(words)

    def _draw_title(self) -> None:
        words = []
        if self._found is not None:
            words.append(many(self._found.total, "file"))
            if self._found.pages > 1:
                words.append(f"page {self._found.page} of {self._found.pages}")
        if self._search:
            words.append(f"with “{clean_line(self._search)}”")
        title = Text.assemble(
            ("Training files of the web application", "bold"), "  ", ("  ·  ".join(words), "dim")
        )
        self.query_exactly_one("#title", Static).update(title, layout=False)

    def _draw_details(self) -> None:
        chosen = self.chosen
        lines = [] if chosen is None else remote_file_details(chosen)
        self.query_exactly_one("#details", Static).update("\n".join(lines))

    # --- fetching -----------------------------------------------------------------------------

    @on(DataTable.RowSelected)
    def _on_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if self.chosen is None:
            return
        if self._fetching is not None:
            self.notify("One file is being fetched; Esc stops it.", markup=False)
            return
        self._fetching = self.chosen
        self.query_exactly_one(CheckProgress).show(f"fetching {self._fetching.name}")
        self._fetch(self._fetching)

    @work(group="fetch", exclusive=True)
    async def _fetch(self, file: RemoteFile) -> None:
        def tell(done: int, total: int) -> None:
            self.post_message(self.Progressed(done, total))

        try:
            fetched = await fetch(self._session, file.id, tell)
        except BrightRunError as error:
            self.post_message(self.Failed(error, was_fetch=True))
        else:
            self.post_message(self.Fetched(fetched))

    @on(Progressed)
    def _on_progressed(self, message: Progressed) -> None:
        if self._fetching is not None:
            progress = self.query_exactly_one(CheckProgress)
            progress.show(f"fetching {self._fetching.name}", message.done, message.total)

    @on(Fetched)
    def _on_fetched(self, message: Fetched) -> None:
        if self._fetching is None:
            return  # Stopped at the last moment.
        self._end_fetch()
        fetched = message.fetched
        if fetched.earlier is not None:
            words = (
                f"{fetched.remote.name} has changed there since it was fetched; jobs that were "
                "started keep the earlier content."
            )
            self.notify(clean_line(words), severity="warning", timeout=15, markup=False)
        self.dismiss(str(fetched.path))

    def _end_fetch(self) -> None:
        self._fetching = None
        self.query_exactly_one(CheckProgress).hide()

    # --- keys ---------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Type a part of a name; Enter asks."""
        search = self.query_exactly_one("#search", SafeInput)
        search.value = self._search
        search.add_class("-open")
        search.focus()

    @on(Input.Submitted, "#search")
    def _on_search(self, event: Input.Submitted) -> None:
        event.stop()
        self._search = event.value.strip()
        self._close_search()
        self._list(1)

    def _close_search(self) -> bool:
        search = self.query_exactly_one("#search", SafeInput)
        was_open = search.has_class("-open")
        search.remove_class("-open")
        self.query_exactly_one(RemoteFileTable).focus()
        return was_open

    def action_turn(self, by: int) -> None:
        """Another page."""
        if (page := self._page_beside(by)) is not None:
            self._list(page)

    def action_reload(self) -> None:
        """Ask for the page again."""
        self._list(self._found.page if self._found is not None else 1)

    def action_back(self) -> None:
        """Stop what is being fetched, put the search away, or leave."""
        if self._fetching is not None:
            self.workers.cancel_group(self, "fetch")
            self._end_fetch()
            words = "stopped; what has arrived is kept, and fetching goes on there."
            self.notify(words, markup=False)
        elif not self._close_search():
            self.dismiss(None)

    def _page_beside(self, by: object) -> int | None:
        if self._found is None or not isinstance(by, int):
            return None
        page = self._found.page + by
        return page if 1 <= page <= self._found.pages else None
