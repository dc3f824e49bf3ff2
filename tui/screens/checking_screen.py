"""What the screens share on which training files are checked: one check at a time, in a thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from textual import on, work
from textual.message import Message

from shared.clean_text import clean_line
from shared.dataset.report import DatasetReport
from shared.errors import BrightRunError
from shared.number_text import many
from shared.store.stored import StoredFile
from tui.screens.console_screen import ConsoleScreen, Result
from tui.services.check_run import CheckOutcome, run_check, run_merge
from tui.services.dataset_check import CheckSettings, OnProgress
from tui.services.session import Session
from tui.widgets.check_progress import CheckProgress


class CheckingScreen(ConsoleScreen[Result]):
    """Has a `CheckProgress`; `checked` is called with what a check has found."""

    @dataclass
    class Progressed(Message):
        """So many bytes are done."""

        what: str
        done: int
        total: int

    @dataclass
    class Ended(Message):
        """A check has come to its end: well, or with an error."""

        outcome: CheckOutcome | None = None
        error: BrightRunError | None = None

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.is_checking = False

    def checked(self, outcome: CheckOutcome) -> None:
        """The registry has changed."""
        raise NotImplementedError

    def check(self, path: str, settings: CheckSettings) -> None:
        """Look into this file."""
        what = f"checking {Path(path).name}"
        store = self.session.store
        self._begin(what, lambda told: run_check(store, path, settings, told))

    def merge(self, paths: Sequence[Path], folder: Path, settings: CheckSettings) -> None:
        """Make one training set of these files."""
        what = f"merging {many(len(paths), 'file')}"
        store = self.session.store
        self._begin(what, lambda told: run_merge(store, paths, folder, settings, told))

    def stop_check(self) -> bool:
        """Give up what is being checked; False if nothing was."""
        if not self.is_checking:
            return False
        self.workers.cancel_group(self, "check")
        self._end()
        self.notify("stopped: nothing was written down", markup=False)
        return True

    def is_busy(self) -> bool:
        """Whether another check is under way, which is told."""
        if self.is_checking:
            self.notify("One check is under way; Esc stops it.", markup=False)
        return self.is_checking

    def _begin(self, what: str, run: Callable[[OnProgress], Awaitable[CheckOutcome]]) -> None:
        if self.is_busy():
            return
        self.is_checking = True
        self.query_exactly_one(CheckProgress).show(what)
        self._run(what, run)

    @work(group="check", exclusive=True)
    async def _run(self, what: str, run: Callable[[OnProgress], Awaitable[CheckOutcome]]) -> None:
        def tell(done: int, total: int) -> None:
            self.post_message(self.Progressed(what, done, total))

        try:
            outcome = await run(tell)
        except BrightRunError as error:
            self.post_message(self.Ended(error=error))
        else:
            self.post_message(self.Ended(outcome))

    @on(Progressed)
    def _on_progressed(self, message: Progressed) -> None:
        if self.is_checking:
            progress = self.query_exactly_one(CheckProgress)
            progress.show(message.what, message.done, message.total)

    @on(Ended)
    def _on_ended(self, message: Ended) -> None:
        if not self.is_checking:
            return  # Stopped at the last moment.
        self._end()
        if message.error is not None:
            self.complain(message.error)
        if message.outcome is not None:
            self._say_change(message.outcome)
            self._say_estimates(message.outcome)
            self.checked(message.outcome)

    def _end(self) -> None:
        self.is_checking = False
        self.query_exactly_one(CheckProgress).hide()

    def _say_change(self, outcome: CheckOutcome) -> None:
        if outcome.change:
            words = clean_line(f"{outcome.file.name}: {outcome.change}")
            self.notify(words, severity="warning", timeout=15, markup=False)

    def _say_estimates(self, outcome: CheckOutcome) -> None:
        if outcome.estimated_because:
            words = clean_line(f"Token counts are estimates: {outcome.estimated_because}.")
            self.notify(words, severity="warning", timeout=15, markup=False)


def settings_for(file: StoredFile | None, report: DatasetReport | None = None) -> CheckSettings:
    """As the file was checked before; a report of an earlier version does not have the length."""
    settings = CheckSettings((file.base_model if file is not None else None) or "tiny")
    if report is None or not report.max_seq_length:
        return settings
    return replace(settings, max_seq_length=report.max_seq_length)
