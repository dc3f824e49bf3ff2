"""The training files that were checked here, and the ways on from one: look, preview, train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Static

from shared.errors import BrightRunError
from shared.number_text import many
from tui.config import load_config
from tui.screens.checking_screen import settings_for
from tui.screens.known_file_screen import FORGET, KnownFileScreen
from tui.services.check_run import CheckOutcome
from tui.services.dataset_registry import KnownFile, known_files
from tui.services.path_completion import complete_dataset
from tui.services.session import Session
from tui.services.supabase.settings import is_named
from tui.services.training_sets import merged_in_words
from tui.views.dataset_row import dataset_row
from tui.widgets.check_progress import CheckProgress
from tui.widgets.dataset_table import DatasetTable
from tui.widgets.safe_input import PathInput

_EMPTY = "No training files yet. Press a and type the path of one."
_TITLE = "the training files that were checked here"
_TITLE_TO_PICK = "Enter takes the file for the new job"


class DatasetsScreen(KnownFileScreen[str | None]):
    """Gives the path of a file where it was opened to pick one, else None."""

    HELP = """
    # Datasets

    Every training file that was checked on this machine, by its content: a file that has changed
    is another one. F5 checks it again and says what changed. Space marks files; M makes one
    training set of them, without the conversations that stand in several. Forgetting a file never
    deletes it. Where a Supabase project is named, w shows the web application's training files.
    """
    CSS = """
    DatasetsScreen {
        #title { height: 1; background: $panel; padding: 0 1; }
        #datasets { height: 1fr; background: $background; }
        #notice { height: auto; padding: 1 2; color: $text-muted; display: none; }
        #path { height: 1; border: none; padding: 0 1; display: none; background: $surface; }
        #path.-open { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        FORGET,
        Binding("a", "add", "Add", tooltip="Check a file by its path"),
        Binding("space", "mark", "Mark"),
        Binding("M", "merge", "Merge", tooltip="One training set of the marked files"),
        Binding("w", "web_files", "Web", tooltip="The web application's training files"),
        Binding("escape", "back", "Back"),
    ]
    AUTO_FOCUS = "#datasets"

    @dataclass
    class Known(Message):
        """What the registry holds."""

        files: list[KnownFile]
        cursor_to: str | None

    @dataclass
    class Failed(Message):
        """The registry cannot be read."""

        error: BrightRunError

    def __init__(self, session: Session, *, is_pick: bool = False) -> None:
        super().__init__(session)
        self._is_pick = is_pick
        self._known: dict[str, KnownFile] = {}
        self._web_path = ""
        """A file that has just come from the web application, until it is shown."""

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield PathInput(complete=complete_dataset, placeholder="path of a file, or Esc", id="path")
        yield DatasetTable(id="datasets")
        yield Static(_EMPTY, id="notice", markup=False)
        yield CheckProgress()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self._draw_title()

    def on_screen_resume(self) -> None:
        self._load()

    @property
    def chosen(self) -> KnownFile | None:
        key = self.query_exactly_one(DatasetTable).under_cursor
        return None if key is None else self._known.get(key)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible stands in the footer."""
        if action == "merge":
            return len(self.query_exactly_one(DatasetTable).marked) > 1
        if action == "mark":
            return self.chosen is not None
        if action == "new_job" and self._is_pick:
            return False
        if action == "web_files":
            return is_named()
        return super().check_action(action, parameters)

    # --- the registry -------------------------------------------------------------------------

    @work(group="list", exclusive=True)
    async def _load(self, cursor_to: str | None = None) -> None:
        try:
            files = await known_files(self.session.store)
        except BrightRunError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Known(files, cursor_to))

    @on(Known)
    def _on_known(self, message: Known) -> None:
        self._known = {known.file.sha256: known for known in message.files}
        table = self.query_exactly_one(DatasetTable)
        table.show([dataset_row(known) for known in message.files], message.cursor_to)
        self.query_exactly_one("#notice").display = not message.files
        paths = [known.file.path for known in message.files]
        self.query_exactly_one("#path", PathInput).recent.offer(paths)
        self._draw_title()
        self.refresh_bindings()
        self._open_web_file()

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        self.complain(message.error)

    @on(DatasetTable.Highlighted)
    def _on_highlighted(self) -> None:
        self.refresh_bindings()

    def _draw_title(self) -> None:
        marked = len(self.query_exactly_one(DatasetTable).marked)
        words = [_TITLE_TO_PICK if self._is_pick else _TITLE]
        if marked:
            words.insert(0, f"{many(marked, 'file')} marked")
        elif self._known:
            words.insert(0, many(len(self._known), "file"))
        title = Text.assemble(("Datasets", "bold"), "  ", ("  ·  ".join(words), "dim"))
        self.query_exactly_one("#title", Static).update(title, layout=False)

    def checked(self, outcome: CheckOutcome) -> None:
        table = self.query_exactly_one(DatasetTable)
        if outcome.training_set is not None:
            self.notify(merged_in_words(outcome.training_set), timeout=10, markup=False)
            table.clear_marks()
        self._load(outcome.file.sha256)

    def forgotten(self) -> None:
        self._load()

    # --- keys ---------------------------------------------------------------------------------

    @on(DataTable.RowSelected)
    def _on_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if self.chosen is None:
            return
        if self._is_pick:
            self.dismiss(self.chosen.file.path)
            return
        from tui.screens.dataset import DatasetScreen

        self.app.push_screen(DatasetScreen(self.session, self.chosen))

    def action_add(self) -> None:
        """Type a path; Enter checks it."""
        path = self.query_exactly_one("#path", PathInput)
        path.add_class("-open")
        path.focus()

    @on(Input.Submitted, "#path")
    def _on_path(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip():
            self._close_path()
            newest = next(iter(self._known.values()), None)
            self.check(event.value, settings_for(newest.file if newest else None))

    def _close_path(self) -> bool:
        path = self.query_exactly_one("#path", PathInput)
        was_open = path.has_class("-open")
        path.remove_class("-open")
        path.value = ""
        self.query_exactly_one(DatasetTable).focus()
        return was_open

    @work(group="web files", exclusive=True)
    async def action_web_files(self) -> None:
        """Fetch one, check it, and show it."""
        from tui.screens.remote_files import RemoteFilesScreen

        path = await self.app.push_screen_wait(RemoteFilesScreen(self.session))
        if path is not None and not self.is_busy():
            self._web_path = path
            newest = next(iter(self._known.values()), None)
            self.check(path, settings_for(newest.file if newest else None))

    def _open_web_file(self) -> None:
        known = next(
            (each for each in self._known.values() if each.file.path == self._web_path), None
        )
        if known is None or self.is_checking:
            return
        self._web_path = ""
        if not self._is_pick:
            from tui.screens.dataset import DatasetScreen

            self.app.push_screen(DatasetScreen(self.session, known))

    def action_mark(self) -> None:
        """Take the file into what is merged, or out of it."""
        table = self.query_exactly_one(DatasetTable)
        table.toggle_mark()
        table.action_cursor_down()
        self._draw_title()
        self.refresh_bindings()

    def action_merge(self) -> None:
        """One training set of the marked files."""
        files = [self._known[key].file for key in self.query_exactly_one(DatasetTable).marked]
        if len(files) > 1:
            paths = [Path(file.path) for file in files]
            self.merge(paths, load_config().training_sets_path, settings_for(files[0]))

    def action_back(self) -> None:
        """Stop what is being checked, put away what is open, or leave."""
        table = self.query_exactly_one(DatasetTable)
        if self.stop_check() or self._close_path():
            return
        if table.marked:
            table.clear_marks()
            self._draw_title()
            self.refresh_bindings()
        else:
            self.dismiss(None)
