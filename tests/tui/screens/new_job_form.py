"""Drives the form for a new job in a test, inside the smallest app that can show it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, Select

from tests.tui.console_pilot import ScreenPilot
from tui.screens.new_job import NewJobScreen
from tui.services.session import Session, open_session
from tui.views.job_draft import JobDraft
from tui.widgets.job_form import JobForm
from tui.widgets.setting_row import SettingRow

NOT_LEFT = "not left"


class Host(App[None]):
    """Opens the screen, and keeps what it gives."""

    def __init__(self, session: Session, draft: JobDraft | None) -> None:
        super().__init__()
        self.new_job = NewJobScreen(session, draft)
        self.result: str | None = NOT_LEFT
        self.quit_by_text = False

    def on_mount(self) -> None:
        self.push_screen(self.new_job, self._keep)

    def action_quit_by_text(self) -> None:
        """What a link in foreign text would do, were it one."""
        self.quit_by_text = True

    def _keep(self, result: str | None) -> None:
        self.result = result


class NewJobForm(ScreenPilot[Host]):
    """The form on the screen."""

    def __init__(self, app: Host, session: Session, pilot: Pilot[None]) -> None:
        super().__init__(app, pilot)
        self.session = session

    @property
    def draft(self) -> JobDraft:
        return self.app.new_job.query_one(JobForm).draft

    def row(self, field: str) -> SettingRow:
        return self.app.new_job.query_one(f"#row-{field}", SettingRow)

    def shown(self, field: str) -> Any:
        """What the field's editor holds."""
        editor = self.row(field).editor
        assert isinstance(editor, Input | Select)
        return editor.value

    async def until_on(self, kind: type) -> None:
        """Until a screen of this kind is on top."""
        await self.until(lambda: isinstance(self.app.screen, kind) and self.app.screen.is_mounted)

    async def type(self, field: str, *keys: str) -> None:
        """Put other text in a field, key by key."""
        self.row(field).editor.focus()
        await self.pilot.pause()
        await self.press("end", "ctrl+u", *keys)
        await self.pilot.pause()

    async def paste(self, field: str, text: str) -> None:
        """Put other text in a field at once."""
        editor = self.row(field).editor
        assert isinstance(editor, Input)
        editor.value = text
        await self.until(lambda: getattr(self.draft, field) == text)

    async def choose(self, field: str, value: object) -> None:
        """Choose another option."""
        editor = self.row(field).editor
        assert isinstance(editor, Select)
        editor.value = value
        await self.pilot.pause()

    async def until_counted(self) -> None:
        """Until what is shown is of what was typed."""
        await self.until(
            lambda: (
                self.app.new_job._counted.is_of(self.draft)
                and self.app.new_job._counted.preview is not None
            )
        )
        await self.pilot.pause()


@asynccontextmanager
async def open_form(
    draft: JobDraft | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[NewJobForm]:
    """The form on the store and agent of this environment."""
    async with open_session() as session:
        app = Host(session, draft)
        async with app.run_test(size=size) as pilot:
            form = NewJobForm(app, session, pilot)
            await form.until(lambda: app.screen is app.new_job and app.new_job.query("#row-seed"))
            yield form
