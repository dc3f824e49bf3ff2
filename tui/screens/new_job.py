"""A new job: its form, what it would train as it stands, and its start."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Button, Footer, Static

from shared.clean_text import clean_line
from shared.errors import InvalidInput, StoreError
from tui.screens.confirm import ConfirmScreen
from tui.screens.datasets import DatasetsScreen
from tui.screens.open_preview import open_preview
from tui.screens.templated_screen import TemplatedScreen
from tui.services.hosts.choices import host_choices
from tui.services.path_completion import recent_files
from tui.services.session import Session
from tui.views.job_draft import JobDraft
from tui.views.job_summary import Counted, asked, blockers, file_problems, headline
from tui.views.rent_draft import RentDraft
from tui.widgets.findings_list import FindingsList
from tui.widgets.job_form import JobForm
from tui.widgets.job_outlook import JobOutlook
from tui.widgets.start_bar import StartBar

_DEBOUNCE_S = 0.3
_SUBTITLE = " · nothing is started before a review"


class NewJobScreen(TemplatedScreen):
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
        Binding("f3", "findings", "Findings", tooltip="Enter on one opens its conversation"),
        Binding("f5", "count", "Check again", tooltip="Read the training file again"),
        Binding("ctrl+o", "pick", "Files", tooltip="Take a training file that was checked before"),
        Binding("escape", "back", "Back"),
        Binding("ctrl+t", "templates", "Templates", tooltip="Begin with a template, or save one"),
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

    def __init__(
        self, session: Session, draft: JobDraft | None = None, rent: RentDraft | None = None
    ) -> None:
        """`rent` is what the form of a machine to rent begins with."""
        super().__init__(session)
        self.rent_draft = rent
        self._first_draft = draft or JobDraft()
        self._form = JobForm(self._first_draft)
        self._counted = Counted(self._first_draft)
        self._outlook = JobOutlook(self._counted)
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        again = self._first_draft.retry_of
        origin = f" · {again} again: {self._first_draft.changes}" if again else ""
        title = Content.assemble(("New job", "bold $text"), clean_line(origin), _SUBTITLE)
        yield Static(title, id="title")
        with Horizontal(id="body"):
            yield self._form
            yield self._outlook
        yield Static(id="headline")
        yield StartBar()
        yield Footer(compact=True)

    @property
    def draft(self) -> JobDraft:
        return self._form.draft

    async def take_draft(self, draft: JobDraft) -> None:
        await self._form.remove()
        self._form = JobForm(draft)
        await self.query_one("#body").mount(self._form, before=0)
        self._look_for_known()
        self.forget_error()
        self.action_count()
        self._draw()
        self._form.go_to("dataset")

    def on_mount(self) -> None:
        self._look_for_known()
        self.action_count()
        self._draw()

    def on_resize(self) -> None:
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The other side has a key only where both do not fit."""
        return action != "toggle_outlook" or self.has_class("-narrow")

    @on(JobForm.Changed)
    def _on_changed(self) -> None:
        self.forget_error()
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
        preview = await self.previewer.preview(asked(draft))
        self.post_message(self.CountsReady(await self.counted(draft, preview)))

    @on(CountsReady)
    def _on_counts_ready(self, message: CountsReady) -> None:
        self._counted = message.counted
        self._draw()

    @work(group="known")
    async def _look_for_known(self) -> None:
        store = self.session.store
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
            busy=self.doing,
            error=self.last_error,
            reasons=reasons,
            is_counting=preview is None,
        )

    def draw_start(self) -> None:
        self._form.disabled = bool(self.doing)
        self._draw_status()

    def show_counted(self, counted: Counted) -> None:
        self._counted = counted
        self._draw()

    def show_reasons(self) -> None:
        self._show_outlook(True)

    @on(Button.Pressed, "#review")
    def action_review(self) -> None:
        """Prepare the job as it stands and show all of it, unless something is wrong."""
        if self.doing:
            return
        problems = self._form.draft.problems()
        if problems:
            field = next(iter(problems))
            self._show_outlook(False)
            self._form.go_to(field)
            self.complain(InvalidInput(f"{field}: {problems[field]}"))
            return
        self.begin(self._form.draft)

    @on(Button.Pressed, "#other-side")
    def action_toggle_outlook(self) -> None:
        """The form, or the summary and findings, where both do not fit."""
        self._show_outlook(not self.has_class("-outlook"))

    def action_pick(self) -> None:
        """Choose among the files that were checked before."""
        if not self.doing:
            self.app.push_screen(DatasetsScreen(self.session, is_pick=True), self._on_picked)

    def _on_picked(self, path: str | None) -> None:
        if path is not None:
            self._show_outlook(False)
            self._form.take_dataset(path)

    def action_findings(self) -> None:
        """Go through what the check has found."""
        self._show_outlook(True)
        self.query_one(FindingsList).focus()

    @on(FindingsList.Chosen)
    def _on_finding(self, message: FindingsList.Chosen) -> None:
        preview = self._counted.preview
        if preview is None or preview.checked is None or preview.report is None:
            return
        report, path = preview.report, preview.checked.path
        length = report.max_seq_length
        open_preview(self, path, preview.base_model, length, report, message.finding)

    def _show_outlook(self, is_shown: bool) -> None:
        self.set_class(is_shown, "-outlook")
        self.query_one("#other-side", Button).label = "Form" if is_shown else "Summary"
        if is_shown:
            self.query_one(FindingsList).focus()
        elif self.has_class("-narrow"):
            self._form.go_back()

    def action_back(self) -> None:
        """Leave; ask first if something was typed."""
        if self.give_up():
            return
        if self._form.draft == self._first_draft:
            self.dismiss(None)
        else:
            question = ConfirmScreen(
                "Leave this form?", "What you typed is lost.", yes="Leave", no="Stay", danger=True
            )
            self.app.push_screen(question, self._leave_if_sure)

    def _leave_if_sure(self, is_sure: bool | None) -> None:
        if is_sure:
            self.dismiss(None)
