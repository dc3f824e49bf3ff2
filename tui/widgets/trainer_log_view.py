"""The log of one job's trainer, read from its agent for as long as the widget is there."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from textual import work
from textual.message import Message
from textual.worker import Worker, WorkerState

from shared.errors import BrightRunError
from shared.number_text import clock
from tui.services import trainer_log
from tui.services.ssh.asker import asking
from tui.services.trainer_log import LogValue
from tui.widgets.log_pane import LogPane

if TYPE_CHECKING:
    from tui.services.hosts.host import Host


class TrainerLogView(LogPane):
    """Begins to read when it is first shown; ends with the job, or when it is removed."""

    class Read(Message):
        """What the worker has read."""

        def __init__(self, value: LogValue) -> None:
            super().__init__()
            self.value = value

    def __init__(self, host: Host, job_id: str, *, id: str | None = None) -> None:
        super().__init__(save_as=f"{job_id}-trainer.log", id=id)
        self._host = host
        self._job_id = job_id
        self._is_begun = False

    def on_show(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._read()

    @work(exclusive=True, group="trainer log", exit_on_error=False)
    async def _read(self) -> None:
        values = trainer_log.watch_log(self._host, self._job_id)
        async with aclosing(values):
            with asking():  # A person has opened the log; what comes later comes by itself.
                first = await anext(values, None)
            if first is not None:
                self.post_message(self.Read(first))
            async for value in values:
                self.post_message(self.Read(value))

    def on_trainer_log_view_read(self, message: Read) -> None:
        message.stop()
        match message.value:
            case trainer_log.AttemptOpened(attempt, is_whole):
                if attempt > 1 or not is_whole:
                    left_out = "" if is_whole else ", earlier lines left out"
                    self.add_lines([f"--- attempt {attempt}{left_out} ---"])
                self.set_state("")
            case trainer_log.LogLines(lines):
                self.add_lines(lines)
            case trainer_log.NoLogYet():
                self.set_state("no log yet")
            case trainer_log.LogUnreachable(since):
                self.set_state(f"agent unreachable since {clock(since)}, trying again")
            case trainer_log.LogReachable():
                self.set_state("")
            case trainer_log.LogEnded(status):
                self.set_state(f"job {status}")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A worker that failed says why; its other states are of no interest."""
        event.stop()
        if event.state is not WorkerState.ERROR:
            return
        error = event.worker.error
        why = str(error) if isinstance(error, BrightRunError) else type(error).__name__
        self.set_state(f"log cannot be read: {why}")
