"""Two to four versions side by side: settings that differ, figures, curves in one picture."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from shared.clean_text import clean_line
from shared.dataset.writing.new_file import refuse_existing
from shared.errors import BrightRunError
from shared.model_version import ModelVersion
from tui.screens.console_screen import ConsoleScreen
from tui.screens.typed_line import TypedLineScreen
from tui.services.model_comparison import ComparedVersion, compare_versions
from tui.services.model_export import checked_export_path, write_metrics
from tui.services.session import Session
from tui.terminal_encoding import terminal_is_unicode
from tui.views.comparison import MARKS
from tui.views.model_comparison import comparison_text
from tui.views.model_rows import count_words
from tui.widgets.overlaid_chart import OverlaidChart

_SCROLLBAR = 2


async def ask_for_file(screen: Screen[None], versions: Sequence[ModelVersion]) -> Path | None:
    """Where the metrics of these versions are to go; None for nowhere."""
    names = "-".join(f"{each.model_name}-{each.version}" for each in versions[:2])
    asked = TypedLineScreen(
        f"Export each step of {', '.join(each.reference for each in versions)}",
        "A .csv or .json file. One that is there already is not overwritten.",
        value=f"brightrun-{names}.csv",
        button="Export",
        check=lambda typed: refuse_existing(checked_export_path(typed)),
    )
    typed = await screen.app.push_screen_wait(asked)
    return None if typed is None else checked_export_path(typed)


class ModelComparisonScreen(ConsoleScreen[None]):
    """Reads the store; changes nothing."""

    HELP = """
    # Comparison of versions

    The settings that differ come first, then what each version has come to. The letters are those
    in the curves below.
    """
    CSS = """
    ModelComparisonScreen {
        #title { height: 1; background: $panel; padding: 0 1; }
        #both { height: 1fr; padding: 0 1; }
        #table { height: auto; text-wrap: nowrap; }
        OverlaidChart { height: 12; margin: 1 0 0 0; }
        &.-tall OverlaidChart { height: 16; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("m", "next_curve", "Curve", tooltip="Loss, held-out loss, both"),
        Binding("x", "next_axis", "Axis", tooltip="Against steps, epochs or tokens"),
        Binding("s", "next_smoothing", "Smoothing"),
        Binding("b", "next_marker", "Dots", show=False, tooltip="Braille, blocks or ASCII"),
        Binding("e", "export", "Export", tooltip="Each step as CSV or JSON"),
    ]
    AUTO_FOCUS = "#both"

    @dataclass
    class Compared(Message):
        """The store was read."""

        compared: list[ComparedVersion]

    def __init__(self, session: Session, versions: Sequence[ModelVersion]) -> None:
        super().__init__()
        self._session = session
        self._versions = tuple(versions)
        self._compared: list[ComparedVersion] = []

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        with VerticalScroll(id="both"):
            yield Static("reading ...", id="table", markup=False)
            yield OverlaidChart()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        if not terminal_is_unicode():
            self.query_one(OverlaidChart).marker = "ascii"
        self._compare()

    @work(group="compare", exclusive=True)
    async def _compare(self) -> None:
        try:
            compared = await compare_versions(self._session, self._versions)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.post_message(self.Compared(compared))

    @on(Compared)
    def _on_compared(self, message: Compared) -> None:
        self._compared = message.compared
        marked = zip(MARKS, self._compared, strict=False)
        self.query_one(OverlaidChart).show({mark: each.points for mark, each in marked})
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if not self._compared:
            return
        width = self.query_one("#both").size.width - _SCROLLBAR
        self.query_one("#table", Static).update(comparison_text(self._compared, width))
        words = count_words([each.version for each in self._compared])
        title = Text.assemble(("Comparison", "bold"), "  ", (words, "dim"))
        self.query_one("#title", Static).update(title)

    # --- keys ---------------------------------------------------------------------------------

    def action_back(self) -> None:
        self.dismiss()

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

    @work(group="ask", exclusive=True)
    async def action_export(self) -> None:
        """Write what was measured at each step into a new file."""
        if not self._compared:
            return
        path = await ask_for_file(self, self._versions)
        if path is None:
            return
        try:
            rows = await asyncio.to_thread(write_metrics, path, self._compared)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.notify(f"{rows:,} rows written: {clean_line(str(path))}", markup=False)
