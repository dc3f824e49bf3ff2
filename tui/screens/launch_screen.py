"""From a complete draft to a started job: read and hash the file, show all of it, hand it over.

Knows nothing of the form that the draft comes from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from textual import on, work
from textual.message import Message
from textual.widget import Widget

from shared.clean_text import clean_line
from shared.errors import BrightRunError, InvalidInput, OverMonthlyLimit, StoreError
from shared.forecast.past import Past
from shared.number_text import usd
from tui.screens.confirm import ConfirmScreen
from tui.screens.console_screen import ConsoleScreen
from tui.screens.over_limit import OverLimitScreen
from tui.screens.rent import Chosen, RentScreen
from tui.screens.review import ReviewScreen
from tui.services.artifact_uploads.size_limits import (
    adapter_bytes,
    expected_adapter_bytes,
    upload_warning,
)
from tui.services.dataset_registry import change_since_check
from tui.services.forecasting import past_of
from tui.services.hosts.names import RUNPOD
from tui.services.job_starter import JobStarter
from tui.services.memory_check import known_facts, require_room
from tui.services.model_shapes import FoundShape, model_shape, shape_for_rent
from tui.services.preview import Prepared, Preview, Previewer
from tui.services.rent_options import TrainingWork
from tui.services.rent_plan import RentPlan
from tui.services.session import Session
from tui.services.speed import known_speed
from tui.services.spending.rent_month import counted_usd, month_before
from tui.services.ssh.asker import asking
from tui.views.job_draft import JobDraft
from tui.views.job_review import review_lines
from tui.views.job_summary import Counted, Line, blockers
from tui.views.money_lines import month_lines
from tui.views.rent_draft import RentDraft
from tui.views.rent_lines import agreement_lines, volume_question

_READING = "reading and hashing the training file …"
_STARTING = "starting …"


@dataclass(frozen=True)
class _Launch:
    """What was reviewed."""

    prepared: Prepared
    host: str
    retry_of: str | None
    rent: RentPlan | None
    """None where nothing is rented."""
    over_limit: str = ""
    """Why it may go beyond the monthly limit."""


class LaunchScreen(ConsoleScreen[str | None]):
    """Gives the id of the job that was started, or None. At most one start is under way."""

    @dataclass
    class ReadyForReview(Message):
        """A complete job, of the file as it is now."""

        prepared: Prepared
        counted: Counted
        too_large: str = ""
        """Where Supabase would not take the adapter."""

    @dataclass
    class Refused(Message):
        """It could not be prepared or started; the form is as it was."""

        error: BrightRunError

    @dataclass
    class BeyondMonth(Message):
        """The month has no room for it, unless there is a reason."""

        launch: _Launch
        error: OverMonthlyLimit

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
        self.rent_draft: RentDraft | None = None
        """What was typed about the machine, for the next time it is asked for."""
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
        past = Past()
        with suppress(StoreError):  # What is assumed then stands in its place.
            past = await past_of(store, preview.base_model, draft.host_name, revision)
        return Counted(draft, preview, speed, change, shape, facts, past)

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
            if draft.host_name == RUNPOD:
                counted = replace(counted, shape=await _shape_for_rent(prepared))
            too_large = await upload_warning(self.session.config, _adapter_bytes(prepared, counted))
        except BrightRunError as error:
            self.post_message(self.Refused(error))
        else:
            prepared = self._starter.continued(prepared)
            self.post_message(self.ReadyForReview(prepared, counted, too_large))

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
        if counted.draft.host_name != RUNPOD:
            self._review(message, None)
            return
        assert counted.shape is not None
        wanted = TrainingWork(
            message.prepared.spec, counted.shape, message.prepared.plan, counted.past
        )
        chosen = partial(self._on_rent_chosen, message)
        self.app.push_screen(RentScreen(self.session, wanted, self.rent_draft), chosen)

    def _on_rent_chosen(self, message: ReadyForReview, chosen: Chosen | None) -> None:
        if chosen is None:
            self._set_busy("")
            return
        self.rent_draft = chosen.draft
        self._review_rent(message, chosen.plan)

    @work(group="start", exclusive=True)
    async def _review_rent(self, message: ReadyForReview, plan: RentPlan) -> None:
        try:
            month = await month_before(self.session.store, message.prepared.spec.job_id)
        except BrightRunError as error:
            self.post_message(self.Refused(error))
        else:
            self._review(message, plan, month_lines(month, counted_usd(plan)))

    def _review(
        self, message: ReadyForReview, rent: RentPlan | None, month: Sequence[Line] = ()
    ) -> None:
        prepared, counted = message.prepared, message.counted
        draft = counted.draft
        lines = review_lines(
            prepared, draft.host_name, counted.speed, counted.change, draft.retry_of, counted.memory
        )
        question = "Start this job?"
        if rent is not None:
            lines = [
                *agreement_lines(rent),
                *month,
                *(line for line in lines if line.name != "cost"),
            ]
            question = f"Rent a machine for up to {usd(rent.wanted.budget_usd or 0)} and start?"
        if message.too_large:
            lines = [Line("Supabase", message.too_large, "warning"), *lines]
        launch = _Launch(prepared, draft.host_name, draft.retry_of, rent)
        self.app.push_screen(ReviewScreen(lines, question), partial(self._on_reviewed, launch))

    def _on_reviewed(self, launch: _Launch, is_wanted: bool | None) -> None:
        if not is_wanted:
            self._set_busy("")
        elif launch.rent is not None and launch.rent.new_volume is not None:
            asked, detail = volume_question(launch.rent)
            question = ConfirmScreen(asked, detail, yes="Make it and rent", no="Back", danger=True)
            self.app.push_screen(question, partial(self._on_volume_agreed, launch))
        else:
            self._set_busy(_STARTING)
            self._start(launch)

    def _on_volume_agreed(self, launch: _Launch, is_sure: bool | None) -> None:
        self._set_busy(_STARTING if is_sure else "")
        if is_sure:
            self._start(launch)

    @work(group="start", exclusive=True)
    async def _start(self, launch: _Launch) -> None:
        prepared, again, tell = launch.prepared, launch.retry_of, self._tell_step
        try:
            with asking():
                if launch.rent is not None:
                    job_id = await self._starter.rent(
                        prepared, launch.rent, tell, retry_of=again, over_limit=launch.over_limit
                    )
                else:
                    job_id = await self._starter.start(prepared, launch.host, tell, retry_of=again)
        except OverMonthlyLimit as error:
            self.post_message(self.BeyondMonth(launch, error))
        except BrightRunError as error:
            self.post_message(self.Refused(error))
        else:
            self.post_message(self.Started(job_id))

    @on(BeyondMonth)
    def _on_beyond_month(self, message: BeyondMonth) -> None:
        chosen = partial(self._on_reason, message)
        self.app.push_screen(OverLimitScreen(message.error.figures), chosen)

    def _on_reason(self, message: BeyondMonth, reason: str | None) -> None:
        if reason is None:
            self._set_busy("", clean_line(str(message.error)))
        else:
            self._start(replace(message.launch, over_limit=reason))

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


async def _shape_for_rent(prepared: Prepared) -> FoundShape:
    """Of the base model; fetched where it is not here, since prices hang on it."""
    return await asyncio.to_thread(shape_for_rent, prepared.spec)


def _adapter_bytes(prepared: Prepared, counted: Counted) -> int | None:
    shape = None if counted.shape is None else counted.shape.shape
    known = adapter_bytes(prepared.spec, shape)
    if known is None and counted.memory is not None:
        return expected_adapter_bytes(counted.memory)
    return known
