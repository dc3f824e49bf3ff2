"""What the screens share: the app by its own type, and what can be done to a job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen

from shared.clean_text import clean_line

if TYPE_CHECKING:
    from shared.store.stored import StoredJob
    from tui.app import BrightRunApp
    from tui.services.hosts.host import Step
    from tui.services.session import Session

Result = TypeVar("Result")

_CANCELLING = "cancelling: the trainer saves a checkpoint and stops"
_CANCELLING_RENTED = "cancelling: the trainer stops, then its machine is ended"


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
        Binding("a", "answer", "Answer", tooltip="A rented job asks you something"),
        Binding("N", "new_job_like", "Clone", tooltip="A new job like this one", show=False),
        Binding("w", "open_sweep", "Sweep", tooltip="All jobs of its sweep, side by side"),
    ]

    def chosen_job(self) -> StoredJob | None:
        """The job that the keys act upon."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible with the chosen job stands in the footer."""
        if action not in {
            "cancel_job",
            "retry_job",
            "fetch",
            "answer",
            "new_job_like",
            "open_sweep",
        }:
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
        if action == "open_sweep":
            return job.sweep_id is not None
        if action == "answer":
            sight = self.console.rentals.sights.get(job.job_id)
            return sight is not None and bool(sight.rental.question)
        return True

    def action_open_sweep(self) -> None:
        """The jobs of its sweep, side by side."""
        job = self.chosen_job()
        if job is not None and job.sweep_id is not None:
            self.console.open_sweep(job.sweep_id)

    @work(group="job action", exclusive=True)
    async def action_cancel_job(self) -> None:
        """Ask, then pass the wish on."""
        from shared.errors import BrightRunError
        from tui.screens.cancel import RENTED_KEPT, RENTED_LOST, CancelScreen
        from tui.services import jobs
        from tui.services.ssh.asker import asking

        job, session = self.chosen_job(), self.console.session
        if job is None or session is None:
            return
        asked = CancelScreen(job)
        if (rented := self.console.rentals.sights.get(job.job_id)) is not None:
            keeps = rented.stored.request.keeps_results
            asked = CancelScreen(job, RENTED_KEPT if keeps else RENTED_LOST)
        reason = await self.app.push_screen_wait(asked)
        if reason is None:
            return
        self.notify(_CANCELLING_RENTED if job.state.rented else _CANCELLING, markup=False)
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
        from tui.services.hosts.names import shown_host
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
        steps = StepsScreen(f"Starting “{job.spec.name}” again on {shown_host(job.host)}")
        await self.app.push_screen(steps)
        try:
            with asking():
                again = await self._started_again(session, job, steps.tell)
        except BrightRunError as error:
            steps.withdraw()
            self.complain(error)
        else:
            steps.withdraw()
            if again is not None:
                self.console.open_job(again)
        self.console.look_for_jobs()

    async def _started_again(
        self, session: Session, job: StoredJob, tell: Step
    ) -> StoredJob | None:
        """Ask why, where the month has no room for it; None where it is left at that."""
        from shared.errors import OverMonthlyLimit
        from tui.screens.over_limit import OverLimitScreen
        from tui.services import jobs

        try:
            return await jobs.retry_job(session, job, tell)
        except OverMonthlyLimit as error:
            reason = await self.app.push_screen_wait(OverLimitScreen(error.figures))
            if reason is None:
                return None
            return await jobs.retry_job(session, job, tell, over_limit=reason)

    def action_fetch(self) -> None:
        """Choose a place, and bring the adapter there."""
        from tui.screens.fetch import FetchScreen

        job, session = self.chosen_job(), self.console.session
        if job is not None and session is not None:
            self.app.push_screen(FetchScreen(session, job))

    @work(group="job action", exclusive=True)
    async def action_answer(self) -> None:
        """Put the job's question, and pass the answer on to whoever controls."""
        from shared.errors import BrightRunError
        from tui.screens.answer import AnswerScreen
        from tui.services.rented_jobs import STOP, answer_question, cancel_rented_job
        from tui.views.rental_answers import answers_to, question_detail, typed_answer

        job, session = self.chosen_job(), self.console.session
        sight = None if job is None else self.console.rentals.sights.get(job.job_id)
        if job is None or session is None or sight is None or not sight.rental.question:
            return
        detail = question_detail(sight, datetime.now(UTC))
        question, typed = sight.rental.question, typed_answer(sight)
        asked = AnswerScreen(job.spec.name, question, answers_to(sight), detail, typed)
        answer = await self.app.push_screen_wait(asked)
        if answer is None:
            return
        try:
            if answer == STOP:
                await cancel_rented_job(session, job, question)
            else:
                await answer_question(session, job, answer)
        except BrightRunError as error:
            self.complain(error)
        else:
            self.notify(f"answered: {answer}", markup=False)
        self.console.look_for_jobs()

    @work(group="job action", exclusive=True)
    async def action_new_job_like(self) -> None:
        """The form, filled with this job's settings."""
        from tui.services import jobs
        from tui.services.templates import wanted_of
        from tui.views.job_draft import JobDraft
        from tui.views.rent_draft import RentDraft

        job, session = self.chosen_job(), self.console.session
        if job is None or session is None:
            return
        path = await jobs.find_training_file(session, job.spec)
        rented = await session.store.rentals.get(job.job_id)
        rent = None if rented is None else RentDraft.of_wanted(wanted_of(rented.request))
        self.console.open_new_job(JobDraft.of_spec(job.spec, path, job.host), rent)
