"""One training file: its figures, lengths and groups on one side, the findings on the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Footer, Static

from shared.dataset.report import DatasetReport
from shared.errors import BrightRunError
from tui.screens.check_settings import CheckSettingsScreen
from tui.screens.known_file_screen import FORGET, KnownFileScreen
from tui.services.check_run import CheckOutcome
from tui.services.dataset_registry import KnownFile, state_of
from tui.services.session import Session
from tui.views.dataset_details import detail_lines, headline
from tui.views.finding_lines import checks_in_words
from tui.widgets.check_progress import CheckProgress
from tui.widgets.findings_list import FindingsList

_NARROWEST = 40


class DatasetScreen(KnownFileScreen[None]):
    """Shows what the last check said; reads the file itself only when it is asked to."""

    HELP = """
    # Dataset

    What the last check said. Enter on a finding opens the preview at its conversation; Tab goes
    from the figures to the findings and back. `b` checks the file again for another base model or
    another max_seq_length; F5 then keeps to these.
    """
    CSS = """
    DatasetScreen {
        #title { height: 1; background: $panel; padding: 0 1; }
        #title { text-wrap: nowrap; text-overflow: ellipsis; }
        #body { height: 1fr; layout: horizontal; }
        #figures { width: 3fr; padding: 0 1; }
        #figures { scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
        #figures:focus { background-tint: $foreground 3%; }
        #found { width: 2fr; padding: 0 0 0 1; border-left: vkey $panel; }
        #findings-title { height: 1; color: $text-primary; text-style: bold; }
    }
    DatasetScreen.-narrow {
        #body { layout: vertical; }
        #figures { width: 1fr; height: 3fr; }
        #found { width: 1fr; height: 2fr; padding: 0; border-left: none; }
        #found { border-top: solid $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "base_model", "Base model", tooltip="Check for another model or length"),
        Binding("f3", "findings", "Findings"),
        Binding("escape", "back", "Back"),
        FORGET,
    ]
    AUTO_FOCUS = "#figures"

    @dataclass
    class Loaded(Message):
        """What the registry holds of the file."""

        known: KnownFile
        report: DatasetReport | None

    @dataclass
    class Failed(Message):
        """The registry cannot be read."""

        error: BrightRunError

    def __init__(self, session: Session, known: KnownFile) -> None:
        super().__init__(session)
        self._file = known
        self._report: DatasetReport | None = None
        self._is_loaded = False

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        with Container(id="body"):
            with VerticalScroll(id="figures"):
                yield Static(id="details", markup=False)
            with Vertical(id="found"):
                yield Static(id="findings-title")
                yield FindingsList(id="findings")
        yield CheckProgress()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self._load(self._file)

    def on_resize(self) -> None:
        # The size of what is inside follows this event.
        self.call_after_refresh(self._draw)

    @property
    def chosen(self) -> KnownFile:
        return self._file

    @property
    def report(self) -> DatasetReport | None:
        return self._report

    def checked(self, outcome: CheckOutcome) -> None:
        jobs = self._file.jobs if outcome.file.sha256 == self._file.file.sha256 else ()
        self._load(KnownFile(outcome.file, state_of(outcome.file), jobs))

    def forgotten(self) -> None:
        self.dismiss()

    @work(group="load", exclusive=True)
    async def _load(self, known: KnownFile) -> None:
        registry = self.session.store.training_files
        try:
            report = await registry.report(known.file.sha256)
            jobs = tuple((await registry.uses()).get(known.file.sha256, ()))
        except BrightRunError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Loaded(replace(known, jobs=jobs), report))

    @on(Loaded)
    def _on_loaded(self, message: Loaded) -> None:
        self._file, self._report, self._is_loaded = message.known, message.report, True
        self._draw()

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        self.complain(message.error)

    def _draw(self) -> None:
        self.query_exactly_one("#title", Static).update(headline(self._file), layout=False)
        if not self._is_loaded:
            return
        report = self._report
        width = max(self.query_exactly_one("#figures").scrollable_content_region.width, _NARROWEST)
        lines = detail_lines(self._file, report, width)
        self.query_exactly_one("#details", Static).update(Text("\n").join(lines))
        self.query_exactly_one(FindingsList).show(report.findings if report else ())
        words = "" if report is None else checks_in_words(report)
        title = Content.assemble("Findings  ", (words, "not bold $text-muted"))
        self.query_exactly_one("#findings-title", Static).update(title, layout=False)

    @on(FindingsList.Chosen)
    def _on_finding(self, message: FindingsList.Chosen) -> None:
        self.preview(message.finding)

    @work(group="check again", exclusive=True)
    async def action_base_model(self) -> None:
        """Ask for a base model and a length, and check the file again with them."""
        file = self._file.file
        if self.is_busy():
            return
        last = await self.settings_of_last_check(file)
        if last is None:
            return
        wanted = await self.app.push_screen_wait(CheckSettingsScreen(file.name, last))
        if wanted is not None:
            self.check(file.path, wanted)

    def action_findings(self) -> None:
        """Go through the findings."""
        self.query_exactly_one(FindingsList).focus()

    def action_back(self) -> None:
        """Stop what is being checked, or leave."""
        if not self.stop_check():
            self.dismiss()
