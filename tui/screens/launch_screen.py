"""From a complete draft to a started job: read and hash the file, show all of it, hand it over.

Knows nothing of the form that the draft comes from.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from textual import on, work
from textual.message import Message
from textual.widget import Widget

from shared.clean_text import clean_line
from shared.errors import BrightRunError, InvalidInput, StoreError
from tui.screens.console_screen import ConsoleScreen
from tui.screens.review import ReviewScreen
from tui.services.dataset_registry import change_since_check
from tui.services.job_starter import JobStarter
from tui.services.memory_check import known_facts, require_room
from tui.services.model_shapes import model_shape
from tui.services.preview import Prepared, Preview, Previewer
from tui.services.session import Session
from tui.services.speed import known_speed
from tui.services.ssh.asker import asking
from tui.views.job_draft import JobDraft
from tui.views.job_review import review_lines
from tui.views.job_summary import Counted, blockers

_READING = "reading and hashing the training file …"
_STARTING = "starting …"


class LaunchScreen(ConsoleScreen[str | None]):
    """Gives the id of the job that was started, or None. At most one start is under way."""

    @dataclass
    class ReadyForReview(Message):
        """A complete job, of the file as it is now."""

        prepared: Prepared
        counted: Counted

    @dataclass
    class Refused(Message):
        """It could not be prepared or started; the form is as it was."""

        error: BrightRunError

    @dataclass
    class Stepped(Message):
        """What is being done about the host."""

        step: str

    @dataclass
    class Started(Message):
        """The agent has it."""

        job_id: str

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.previewer = Previewer()
        self._starter = JobStarter(session)
        self._busy = ""
        """What is being done about the start; empty while the form can be used."""
        self._step = ""
        """The part of it that the host is at, once it tells."""
        self._error = ""
        self._focus_before: Widget | None = None

    def on_unmount(self) -> None:
        self.previewer.close()

    @property
    def doing(self) -> str:
        """What is being done about the start, in the words of whoever does it."""
        return self._step or self._busy

    @property
    def last_error(self) -> str:
        """Why the last start failed, until something is changed."""
        return self._error

    def forget_error(self) -> None:
        """Something was changed."""
        self._error = ""

    def draw_start(self) -> None:
        """What is being done, and whether the form can be used, has changed."""
        raise NotImplementedError

    def show_counted(self, counted: Counted) -> None:
        """The file was counted afresh."""
        raise NotImplementedError

    def show_reasons(self) -> None:
        """Lead the eye to why it cannot be started."""
        raise NotImplementedError

    def begin(self, draft: JobDraft) -> None:
        """Prepare the job of a draft without problems, and ask once more."""
        if not self._busy:
            self._set_busy(_READING)
            self._prepare(draft)

    async def counted(self, draft: JobDraft, preview: Preview) -> Counted:
        """What was found in the file, with what the store knows of it and of the model."""
        store = self.session.store
        speed = await known_speed(store, preview.base_model, draft.host_name)
        change = ""
        if preview.checked is not None:
            with suppress(StoreError):  # Only a notice; a start would say what is wrong.
                change = await change_since_check(store, preview.checked)
        revision = draft.revision.strip() or None
        shape = await asyncio.to_thread(model_shape, preview.base_model, revision, draft.host_name)
        facts = await known_facts(store, draft.host_name)
        return Counted(draft, preview, speed, change, shape, facts)

    def give_up(self) -> bool:
        """Go back to the form; False if nothing is under way that keeps anybody from leaving it."""
        if self._busy == _STARTING:
            self.notify("The job is being started.", markup=False)
        elif self._busy == _READING:
            self.workers.cancel_group(self, "start")
            self._set_busy("")
        else:
            return False
        return True

    def _set_busy(self, busy: str, error: str = "") -> None:
        if busy and not self._busy:
            self._focus_before = self.focused
        self._busy, self._step, self._error = busy, "", error
        self.draw_start()
        if not busy and self._focus_before is not None:
            self._focus_before.focus()

    @work(group="start", exclusive=True)
    async def _prepare(self, draft: JobDraft) -> None:
        try:
            prepared = await self.previewer.prepare(draft.dataset, draft.values(), draft.host_name)
            preview = Preview(
                prepared.spec.base_model, prepared.report, prepared.plan, checked=prepared.checked
            )
            counted = await self.counted(draft, preview)
            require_room(counted.memory)
        except BrightRunError as error:
            self.post_message(self.Refused(error))
        else:
            self.post_message(self.ReadyForReview(self._starter.continued(prepared), counted))

    @on(ReadyForReview)
    def _on_ready_for_review(self, message: ReadyForReview) -> None:
        if self._busy != _READING:
            return  # Given up in the meantime.
        counted = message.counted
        self.show_counted(counted)
        if reasons := blockers(counted.draft, counted.preview):
            self._set_busy("", f"cannot be started: {reasons[0]}")
            self.show_reasons()
            self.complain(InvalidInput(self._error))
            return
        host = counted.draft.host_name
        again = counted.draft.retry_of
        lines = review_lines(
            message.prepared, host, counted.speed, counted.change, again, counted.memory
        )
        answer = partial(self._on_reviewed, message.prepared, host, again)
        self.app.push_screen(ReviewScreen(lines), answer)

    def _on_reviewed(
        self, prepared: Prepared, host: str, retry_of: str | None, is_wanted: bool | None
    ) -> None:
        if not is_wanted:
            self._set_busy("")
            return
        self._set_busy(_STARTING)
        self._start(prepared, host, retry_of)

    @work(group="start", exclusive=True)
    async def _start(self, prepared: Prepared, host: str, retry_of: str | None) -> None:
        try:
            with asking():
                job_id = await self._starter.start(
                    prepared, host, self._tell_step, retry_of=retry_of
                )
        except BrightRunError as error:
            self.post_message(self.Refused(error))
        else:
            self.post_message(self.Started(job_id))

    def _tell_step(self, step: str) -> None:
        self.post_message(self.Stepped(step))

    @on(Stepped)
    def _on_stepped(self, message: Stepped) -> None:
        self._step = message.step
        self.draw_start()

    @on(Refused)
    def _on_refused(self, message: Refused) -> None:
        self._set_busy("", clean_line(str(message.error)))
        self.complain(message.error)

    @on(Started)
    def _on_started(self, message: Started) -> None:
        self.dismiss(message.job_id)
