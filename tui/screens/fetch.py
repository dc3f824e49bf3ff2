"""Brings an adapter home, with a bar; what has arrived is kept if it is stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, ProgressBar, Static
from textual.worker import Worker

from shared.clean_text import clean_line
from shared.errors import BrightRunError
from shared.number_text import short_path, size
from shared.store.stored import StoredJob
from tui.services.artifacts import fetch_adapter
from tui.services.session import Session
from tui.services.ssh.asker import asking
from tui.widgets.safe_input import SafeInput


class FetchScreen(ModalScreen[None]):
    """Asks for a directory, then downloads and verifies."""

    CSS = """
    FetchScreen {
        align: center middle;
        #dialog {
            width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 1 2;
            background: $surface; border: round $primary;
        }
        #question { text-style: bold; width: 1fr; }
        #state { width: 1fr; height: auto; margin-top: 1; }
        ProgressBar { width: 1fr; margin-top: 1; display: none; }
        ProgressBar.-running { display: block; }
        Horizontal { height: auto; margin-top: 1; }
        Button { margin-right: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close")]
    AUTO_FOCUS = "#directory"

    @dataclass
    class Stepped(Message):
        """What is being done about the host, before the first byte comes."""

        step: str

    @dataclass
    class Progressed(Message):
        """Bytes that are here, and bytes of the whole adapter."""

        done_bytes: int
        total_bytes: int

    @dataclass
    class Arrived(Message):
        """It is here and verified."""

        place: Path

    @dataclass
    class Failed(Message):
        """It is not here; what has arrived is kept."""

        error: BrightRunError

    def __init__(self, session: Session, job: StoredJob) -> None:
        super().__init__()
        self._session = session
        self._job = job
        self._download: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            name = clean_line(self._job.spec.name)
            yield Label(f"Fetch the adapter of “{name}”", id="question", markup=False)
            yield SafeInput("adapters", placeholder="directory", id="directory")
            yield ProgressBar(total=None)
            yield Static(self._place("adapters"), id="state", markup=False)
            with Horizontal():
                yield Button("Fetch", variant="primary", id="fetch")
                yield Button("Close", id="close")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._say(self._place(event.value))

    def on_input_submitted(self) -> None:
        self._begin()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "fetch":
            self._begin()
        else:
            self.action_close()

    def action_close(self) -> None:
        """Stop, if it is at work; fetching again goes on where it stopped."""
        if self._download is not None and self._download.is_running:
            self._download.cancel()
            words = (
                "The download was stopped; what has arrived is kept, and fetching goes on there."
            )
            self.notify(words, markup=False)
        self.dismiss()

    def _place(self, typed: str) -> str:
        directory = Path(typed or ".").expanduser().absolute() / self._job.job_id
        return f"It becomes {clean_line(short_path(directory))}, once every hash holds."

    def _say(self, text: str) -> None:
        self.query_one("#state", Static).update(clean_line(text))

    def _begin(self) -> None:
        if self._download is not None and self._download.is_running:
            return
        self.query_one("#fetch", Button).disabled = True
        self.query_one("#directory", Input).disabled = True
        self.query_one(ProgressBar).add_class("-running")
        directory = Path(self.query_one("#directory", Input).value or ".").expanduser()
        self._download = self._fetch(directory)

    @work(exclusive=True)
    async def _fetch(self, directory: Path) -> None:
        try:
            host = self._session.host_of(self._job)
            with asking():
                await host.ensure_agent(self._tell_step)
            async with host.client() as client:
                place = await fetch_adapter(
                    client,
                    self._job.job_id,
                    directory,
                    manifest_sha256=self._job.state.adapter_manifest_sha256,
                    progress=self._progress,
                )
        except BrightRunError as error:
            self.post_message(self.Failed(error))
        else:
            self.post_message(self.Arrived(place))

    def _tell_step(self, step: str) -> None:
        self.post_message(self.Stepped(step))

    def _progress(self, done_bytes: int, total_bytes: int) -> None:
        self.post_message(self.Progressed(done_bytes, total_bytes))

    @on(Stepped)
    def _on_stepped(self, message: Stepped) -> None:
        self._say(message.step)

    @on(Progressed)
    def _on_progressed(self, message: Progressed) -> None:
        done, total = message.done_bytes, message.total_bytes
        self.query_one(ProgressBar).update(total=total, progress=done)
        self._say(f"{size(done)} of {size(total)}")

    @on(Failed)
    def _on_failed(self, message: Failed) -> None:
        self._say(str(message.error))
        self.query_one("#fetch", Button).disabled = False
        self.query_one("#directory", Input).disabled = False

    @on(Arrived)
    def _on_arrived(self, message: Arrived) -> None:
        self._say(f"The adapter is here, and every hash holds: {message.place}")
        self.query_one("#close", Button).focus()
