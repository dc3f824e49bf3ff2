"""A new job: its form, what it would train as it stands, and its start."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Button, Footer, Static

from shared.clean_text import clean_line
from shared.errors import BrightRunError, InvalidInput, StoreError
from tui.screens.confirm import ConfirmScreen
from tui.screens.console_screen import ConsoleScreen
from tui.screens.review import ReviewScreen
from tui.services.hosts.choices import host_choices
from tui.services.job_starter import JobStarter
from tui.services.path_completion import recent_files
from tui.services.preview import Prepared, Preview, Previewer
from tui.services.session import Session
from tui.services.speed import known_speed
from tui.services.ssh.asker import asking
from tui.views.job_draft import JobDraft
from tui.views.job_review import review_lines
from tui.views.job_summary import Counted, asked, blockers, file_problems, headline
from tui.widgets.findings_list import FindingsList
from tui.widgets.job_form import JobForm
from tui.widgets.job_outlook import JobOutlook
from tui.widgets.start_bar import StartBar

_DEBOUNCE_S = 0.3
_SUBTITLE = " · nothing is started before a review"
_READING = "reading and hashing the training file …"
_STARTING = "starting …"


class NewJobScreen(ConsoleScreen[str | None]):
    """Gives the id of the job that was started, or None."""

    HELP = """
    # New job

    Fields that you changed by hand are marked with • and stay when the preset changes.
    Nothing is started before you have seen all of it once more.
    """
    CSS = """
    NewJobScreen {
        #title { height: 1; padding: 0 1; background: $panel; color: $text-muted; }
        #body { height: 1fr; }
        JobForm { width: 3fr; max-width: 100; padding: 0 0 0 1; }
        JobOutlook { width: 2fr; padding: 0 0 0 1; border-left: vkey $panel; }
        #headline { display: none; height: 1; padding: 0 1 0 3; color: $text; }
        #headline { text-wrap: nowrap; text-overflow: ellipsis; }
    }
    NewJobScreen.-wide #other-side { display: none; }
    NewJobScreen.-narrow {
        JobForm { width: 1fr; max-width: 100%; }
        #help { height: 4; }
        JobOutlook { width: 1fr; border-left: none; display: none; }
        #headline { display: block; }
        &.-outlook JobForm, &.-outlook #headline { display: none; }
        &.-outlook JobOutlook { display: block; }
    }
    NewJobScreen.-short JobForm .section { display: none; }
    NewJobScreen.-tiny { #title, #headline, #help, JobForm .section { display: none; } }
    """
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (16, "-short"), (34, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "review", "Review & start"),
        Binding("f2", "toggle_outlook", "Summary"),
        Binding("f5", "count", "Check again", tooltip="Read the training file again"),
        Binding("escape", "back", "Back"),
        Binding("q", "back", show=False),  # Not the app's: it would ask nothing.
    ]

    @dataclass
    class CountsReady(Message):
        """What a draft would train."""

        counted: Counted

    @dataclass
    class Known(Message):
        """Training files that were checked here before, last first, and hosts."""

        files: list[str]
        hosts: list[str]

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

    def __init__(self, session: Session, draft: JobDraft | None = None) -> None:
        super().__init__()
        self._session = session
        self._first_draft = draft or JobDraft()
        self._previewer = Previewer()
        self._starter = JobStarter(session)
        self._form = JobForm(self._first_draft)
        self._counted = Counted(self._first_draft)
        self._outlook = JobOutlook(self._counted)
        self._timer: Timer | None = None
        self._busy = ""
        """What is being done about the start; empty while the form can be used."""
        self._step = ""
        """The part of it that the host is at, once it tells."""
        self._focus_before: Widget | None = None
        self._error = ""
        """Why the last start failed, until something is changed."""

    def compose(self) -> ComposeResult:
        yield Static(Content.assemble(("New job", "bold $text"), _SUBTITLE), id="title")
        with Horizontal(id="body"):
            yield self._form
            yield self._outlook
        yield Static(id="headline")
        yield StartBar()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self._look_for_known()
        self.action_count()
        self._draw()

    def on_unmount(self) -> None:
        self._previewer.close()

    def on_resize(self) -> None:
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The other side has a key only where both do not fit."""
        return action != "toggle_outlook" or self.has_class("-narrow")

    @on(JobForm.Changed)
    def _on_changed(self) -> None:
        self._error = ""
        if self._timer is not None:
            self._timer.stop()
        if self._counted.is_of(self._form.draft):
            self._counted = replace(self._counted, draft=self._form.draft)
        else:
            self._timer = self.set_timer(_DEBOUNCE_S, self.action_count)
        self._draw()

    @work(group="count", exclusive=True)
    async def action_count(self) -> None:
        """Look at the file as it is now."""
        draft = self._form.draft
        preview = await self._previewer.preview(asked(draft))
        speed = await known_speed(self._session.store, preview.base_model, draft.host_name)
        self.post_message(self.CountsReady(Counted(draft, preview, speed)))

    @on(CountsReady)
    def _on_counts_ready(self, message: CountsReady) -> None:
        self._counted = message.counted
        self._draw()

    @work(group="known")
    async def _look_for_known(self) -> None:
        store = self._session.store
        with suppress(StoreError):  # Only a convenience; a start would say what is wrong.
            self.post_message(self.Known(await recent_files(store), await host_choices(store)))

    @on(Known)
    def _on_known(self, message: Known) -> None:
        self._form.offer_files(message.files)
        self._form.offer_hosts(message.hosts)

    def _draw(self) -> None:
        self._outlook.show(self._counted)
        self._outlook.show_counting(not self._counted.is_of(self._form.draft))
        self.query_one("#headline", Static).update(Content(headline(self._counted)), layout=False)
        self._draw_status()

    def _draw_status(self) -> None:
        preview = self._counted.preview if self._counted.is_of(self._form.draft) else None
        reasons = blockers(self._form.draft, preview)
        self._form.show_found(file_problems(preview))
        self.query_one(StartBar).show(
            busy=self._step or self._busy,
            error=self._error,
            reasons=reasons,
            is_counting=preview is None,
        )

    def _set_busy(self, busy: str, error: str = "") -> None:
        if busy and not self._busy:
            self._focus_before = self.focused
        self._busy, self._step, self._error = busy, "", error
        self._form.disabled = bool(busy)
        self._draw_status()
        if not busy and self._focus_before is not None:
            self._focus_before.focus()

    @on(Button.Pressed, "#review")
    def action_review(self) -> None:
        """Prepare the job as it stands and show all of it, unless something is wrong."""
        if self._busy:
            return
        problems = self._form.draft.problems()
        if problems:
            field = next(iter(problems))
            self._show_outlook(False)
            self._form.go_to(field)
            self.complain(InvalidInput(f"{field}: {problems[field]}"))
            return
        self._set_busy(_READING)
        self._prepare(self._form.draft)

    @work(group="start", exclusive=True)
    async def _prepare(self, draft: JobDraft) -> None:
        try:
            prepared = await self._previewer.prepare(draft.dataset, draft.values(), draft.host_name)
        except BrightRunError as error:
            self.post_message(self.Refused(error))
        else:
            preview = Preview(prepared.spec.base_model, prepared.report, prepared.plan)
            speed = await known_speed(self._session.store, preview.base_model, draft.host_name)
            counted = Counted(draft, preview, speed)
            self.post_message(self.ReadyForReview(self._starter.continued(prepared), counted))

    @on(ReadyForReview)
    def _on_ready_for_review(self, message: ReadyForReview) -> None:
        if self._busy != _READING:
            return  # Given up in the meantime.
        self._counted = counted = message.counted
        self._draw()
        if reasons := blockers(counted.draft, counted.preview):
            self._set_busy("", f"cannot be started: {reasons[0]}")
            self._show_outlook(True)
            self.complain(InvalidInput(self._error))
            return
        lines = review_lines(message.prepared, counted.draft.host_name, counted.speed)
        self.app.push_screen(ReviewScreen(lines), partial(self._on_reviewed, message.prepared))

    def _on_reviewed(self, prepared: Prepared, is_wanted: bool | None) -> None:
        if not is_wanted:
            self._set_busy("")
            return
        self._set_busy(_STARTING)
        self._start(prepared)

    @work(group="start", exclusive=True)
    async def _start(self, prepared: Prepared) -> None:
        try:
            with asking():
                host = self._form.draft.host_name
                job_id = await self._starter.start(prepared, host, self._tell_step)
        except BrightRunError as error:
            self.post_message(self.Refused(error))
        else:
            self.post_message(self.Started(job_id))

    def _tell_step(self, step: str) -> None:
        self.post_message(self.Stepped(step))

    @on(Stepped)
    def _on_stepped(self, message: Stepped) -> None:
        self._step = message.step
        self._draw_status()

    @on(Refused)
    def _on_refused(self, message: Refused) -> None:
        self._set_busy("", clean_line(str(message.error)))
        self.complain(message.error)

    @on(Started)
    def _on_started(self, message: Started) -> None:
        self.dismiss(message.job_id)

    @on(Button.Pressed, "#other-side")
    def action_toggle_outlook(self) -> None:
        """The form, or the summary and findings, where both do not fit."""
        self._show_outlook(not self.has_class("-outlook"))

    def _show_outlook(self, is_shown: bool) -> None:
        self.set_class(is_shown, "-outlook")
        self.query_one("#other-side", Button).label = "Form" if is_shown else "Summary"
        if is_shown:
            self.query_one(FindingsList).focus()
        elif self.has_class("-narrow"):
            self._form.go_back()

    def action_back(self) -> None:
        """Leave; ask first if something was typed."""
        if self._busy == _STARTING:
            self.notify("The job is being started.", markup=False)
        elif self._busy == _READING:
            self.workers.cancel_group(self, "start")
            self._set_busy("")
        elif self._form.draft == self._first_draft:
            self.dismiss(None)
        else:
            question = ConfirmScreen(
                "Leave this form?", "What you typed is lost.", yes="Leave", no="Stay", danger=True
            )
            self.app.push_screen(question, self._leave_if_sure)

    def _leave_if_sure(self, is_sure: bool | None) -> None:
        if is_sure:
            self.dismiss(None)
