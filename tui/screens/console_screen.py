"""What the screens share: the app by its own type, and what can be done to a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen

from shared.clean_text import clean_line

if TYPE_CHECKING:
    from shared.store.stored import StoredJob
    from tui.app import BrightRunApp

Result = TypeVar("Result")


class ConsoleScreen(Screen[Result]):
    """A screen of the console."""

    # Upstream declares them as instance variables in one of two places.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012

    @property
    def console(self) -> BrightRunApp:
        """The app, by its own type."""
        return cast("BrightRunApp", self.app)

    @property
    def is_seen(self) -> bool:
        """On top, or with nothing but dialogs above (`is_current` is also true below a screen)."""
        stack = self.app.screen_stack
        above = stack[stack.index(self) + 1 :] if self in stack else []
        return self in stack and all(screen.is_modal for screen in above)

    def complain(self, error: Exception) -> None:
        """Show an expected error; nothing in it is markup."""
        self.notify(clean_line(str(error)), severity="error", timeout=10, markup=False)


class JobScreenBase(ConsoleScreen[None]):
    """A screen on which one job is the chosen one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "cancel_job", "Cancel", tooltip="Stop the job; its checkpoint is kept"),
        Binding("r", "retry_job", "Retry", tooltip="The same work again, as a new job"),
        Binding("f", "fetch", "Fetch", tooltip="Bring the adapter home"),
        Binding("N", "new_job_like", "New like this", show=False),
    ]

    def chosen_job(self) -> StoredJob | None:
        """The job that the keys act upon."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible with the chosen job stands in the footer."""
        if action not in {"cancel_job", "retry_job", "fetch", "new_job_like"}:
            return True
        job = self.chosen_job()
        if job is None or self.console.session is None:
            return False
        if action == "cancel_job":
            return not job.status.is_final
        if action == "retry_job":
            return job.status.is_final
        if action == "fetch":
            return job.state.adapter_verified
        return True

    @work(group="job action", exclusive=True)
    async def action_cancel_job(self) -> None:
        """Ask, then pass the wish on."""
        from shared.errors import BrightRunError
        from tui.screens.cancel import CancelScreen
        from tui.services import jobs
        from tui.services.ssh.asker import asking

        job, session = self.chosen_job(), self.console.session
        if job is None or session is None:
            return
        reason = await self.app.push_screen_wait(CancelScreen(job))
        if reason is None:
            return
        self.notify("cancelling: the trainer saves a checkpoint and stops", markup=False)
        try:
            with asking():
                await jobs.cancel_job(session, job, reason)
        except BrightRunError as error:
            self.complain(error)
        self.console.look_for_jobs()

    @work(group="job action", exclusive=True)
    async def action_retry_job(self) -> None:
        """Ask, then start the same work as a new job, or open the form with what is suggested."""
        from shared.errors import BrightRunError
        from tui.screens.retry import RetryScreen
        from tui.screens.steps import StepsScreen
        from tui.services import jobs
        from tui.services.ssh.asker import asking
        from tui.services.suggestions import changes_of, suggestions_for
        from tui.views.job_draft import JobDraft

        job, session = self.chosen_job(), self.console.session
        if job is None or session is None:
            return
        try:
            suggestions = await suggestions_for(session.store, job)
            chosen = await self.app.push_screen_wait(RetryScreen(job, suggestions))
            if chosen is None:
                return
            if chosen is not RetryScreen.AS_IT_WAS:
                changes = await changes_of(session.store, job, chosen)
                path = await jobs.find_training_file(session, job.spec)
                self.console.open_new_job(JobDraft.changed(job, path, changes))
                return
        except BrightRunError as error:
            self.complain(error)
            return
        steps = StepsScreen(f"Starting “{job.spec.name}” again on {job.host}")
        await self.app.push_screen(steps)
        try:
            with asking():
                again = await jobs.retry_job(session, job, steps.tell)
        except BrightRunError as error:
            steps.withdraw()
            self.complain(error)
        else:
            steps.withdraw()
            self.console.open_job(again)
        self.console.look_for_jobs()

    def action_fetch(self) -> None:
        """Choose a place, and bring the adapter there."""
        from tui.screens.fetch import FetchScreen

        job, session = self.chosen_job(), self.console.session
        if job is not None and session is not None:
            self.app.push_screen(FetchScreen(session, job))

    @work(group="job action", exclusive=True)
    async def action_new_job_like(self) -> None:
        """The form, filled with this job's settings."""
        from tui.services import jobs
        from tui.views.job_draft import JobDraft

        job, session = self.chosen_job(), self.console.session
        if job is not None and session is not None:
            path = await jobs.find_training_file(session, job.spec)
            self.console.open_new_job(JobDraft.of_spec(job.spec, path, job.host))
