"""Keys that move a waiting job in the line; they do nothing where the chosen job does not wait."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from tui.screens.console_screen import JobScreenBase
from tui.views.queue_line import line_of, waits

_ACTIONS = {"earlier", "later", "to_the_front"}


class QueueKeys(JobScreenBase):
    """A screen of jobs on which those that wait can be put in another order."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "left_square_bracket",
            "earlier",
            "Earlier",
            key_display="[",
            show=False,
            tooltip="Move the waiting job one place forward",
        ),
        Binding(
            "right_square_bracket",
            "later",
            "Later",
            key_display="]",
            show=False,
            tooltip="Move the waiting job one place back",
        ),
        Binding("P", "to_the_front", "Next one", tooltip="Let the waiting job be the next one"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a job that waits can be moved."""
        if action not in _ACTIONS:
            return super().check_action(action, parameters)
        job = self.chosen_job()
        return job is not None and self.console.session is not None and waits(job)

    def action_earlier(self) -> None:
        """One place forward."""
        self._move(-1)

    def action_later(self) -> None:
        """One place back."""
        self._move(1)

    def action_to_the_front(self) -> None:
        """The next one whose turn comes."""
        self._move(None)

    @work(group="queue", exclusive=True)
    async def _move(self, by: int | None) -> None:
        from shared.errors import BrightRunError

        job, session = self.chosen_job(), self.console.session
        if job is None or session is None:
            return
        try:
            # The line as the store has it by now: others may move jobs, too.
            line = line_of(await session.store.queue.waiting())
            place = 1 if by is None or job.job_id not in line else line.index(job.job_id) + 1 + by
            await session.store.queue.move(job.job_id, max(place, 1))
        except BrightRunError as error:
            self.complain(error)
        self.console.look_for_jobs()
