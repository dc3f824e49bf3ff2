"""A screen on which one training file of the registry is the chosen one, and its keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from shared.clean_text import clean_line
from shared.dataset.findings import Finding
from shared.dataset.report import DatasetReport
from shared.errors import BrightRunError, InvalidDataset
from shared.number_text import short_path
from shared.store.stored import StoredFile
from tui.screens.checking_screen import CheckingScreen, settings_for
from tui.screens.confirm import ConfirmScreen
from tui.screens.console_screen import Result
from tui.screens.open_preview import open_preview
from tui.services.dataset_check import CheckSettings
from tui.services.dataset_registry import FileState, KnownFile, state_of
from tui.views.job_draft import JobDraft

FORGET = Binding("delete", "forget", "Forget", tooltip="Out of this list; the file stays")
"""Each screen puts it where its footer has room at 80 columns."""


class KnownFileScreen(CheckingScreen[Result]):
    """What can be done with a file that was checked before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5", "check_again", "Check again", tooltip="Says what has changed"),
        Binding("p", "preview", "Preview", tooltip="As the model will see it, token by token"),
        Binding("n", "new_job", "New job", tooltip="A new job that trains this file"),
    ]

    @property
    def chosen(self) -> KnownFile | None:
        """The file that the keys act upon."""
        raise NotImplementedError

    @property
    def report(self) -> DatasetReport | None:
        """What the last check said, where the screen has it."""
        return None

    async def last_report(self, file: StoredFile) -> DatasetReport | None:
        """What the last check said; None where that was not kept.

        Raises:
            StoreError: the registry cannot be read.
        """
        return self.report or await self.session.store.training_files.report(file.sha256)

    async def settings_of_last_check(self, file: StoredFile) -> CheckSettings | None:
        """With which base model and length; None where the registry cannot tell, which is said."""
        try:
            report = await self.last_report(file)
        except BrightRunError as error:
            self.complain(error)
            return None
        return settings_for(file, report)

    def forgotten(self) -> None:
        """The registry does not have the file any more."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a file there is nothing to act upon."""
        if action in {"check_again", "preview", "new_job", "forget"}:
            return self.chosen is not None
        return True

    @work(group="check again", exclusive=True)
    async def action_check_again(self) -> None:
        """Read the file again, with the base model and the length of the last time."""
        known = self.chosen
        if known is None or self.is_busy():
            return
        settings = await self.settings_of_last_check(known.file)
        if settings is not None:
            self.check(known.file.path, settings)

    def action_preview(self) -> None:
        """The first conversation, token by token."""
        self.preview()

    @work(group="preview", exclusive=True)
    async def preview(self, finding: Finding | None = None) -> None:
        """The conversation of a finding, or the first one."""
        known = self.chosen
        if known is None:
            return
        if state_of(known.file) is FileState.GONE:
            self.complain(InvalidDataset(f"{known.file.path}: is not there any more."))
            return
        try:
            report = await self.last_report(known.file)
        except BrightRunError as error:
            self.complain(error)
            return
        last = settings_for(known.file, report)
        path = Path(known.file.path)
        open_preview(self, path, last.base_model, last.max_seq_length, report, finding)

    def action_new_job(self) -> None:
        """The form, with this file in it."""
        if self.chosen is not None:
            file = self.chosen.file
            draft = JobDraft(dataset=file.path, host=self.console.config.default_host)
            if file.base_model:
                draft = replace(draft, base_model=file.base_model)
            self.console.open_new_job(draft)

    @work(group="forget", exclusive=True)
    async def action_forget(self) -> None:
        """Ask, then leave the file out of the registry."""
        known = self.chosen
        if known is None:
            return
        question = ConfirmScreen(
            f"Forget “{clean_line(known.file.name)}”?",
            f"The file itself stays: {short_path(Path(known.file.path))}",
            yes="Forget",
            no="Keep",
            danger=True,
        )
        if not await self.app.push_screen_wait(question):
            return
        try:
            await self.session.store.training_files.forget(known.file.sha256)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.forgotten()
